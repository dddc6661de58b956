"""Programs that run a whole Holdfast on one machine: the launcher, its servers, the sandbox gateway, the demo."""
