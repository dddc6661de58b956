"""Groups of the `holdfast` command, one Typer app to a file. They import what is heavy inside their commands."""
