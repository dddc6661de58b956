# Holdfast's worker, API, migrations and sandbox gateway: one image, one command each (`holdfast <command>`).
FROM python:3.11-slim-bookworm AS packages
COPY locks/runtime.txt /tmp/runtime.txt
RUN python -m venv /opt/holdfast \
    && /opt/holdfast/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/runtime.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home holdfast
COPY --from=packages /opt/holdfast /opt/holdfast
WORKDIR /app
COPY cli.py settings.py worker.py ./
COPY activities activities
COPY api api
COPY db db
COPY domain domain
COPY local local
COPY workflows workflows
RUN mkdir /data && chown holdfast /data && /opt/holdfast/bin/python -m compileall -q .
ENV PATH=/opt/holdfast/bin:$PATH PYTHONUNBUFFERED=1 HOLDFAST_DATA_DIR=/data
USER holdfast
ENTRYPOINT ["python", "-m", "cli"]
CMD ["--help"]
