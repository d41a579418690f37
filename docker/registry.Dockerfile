# The Registry: SQLAlchemy and the database's driver; no torch.
# From the repository's root: docker build -f docker/registry.Dockerfile -t crossfade-registry .
ARG PYTHON_TAG=3.11.13-slim-bookworm

FROM python:${PYTHON_TAG} AS build
WORKDIR /source
COPY constraints.txt pyproject.toml ./
COPY sdk ./sdk
COPY registry ./registry
COPY router ./router
COPY evaluator ./evaluator
COPY services ./services
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./sdk .
# The wheels are named by their files: the package index must never be asked for a package of their names.
RUN python -m venv --without-pip /opt/crossfade \
 && pip --python /opt/crossfade/bin/python install --no-cache-dir --constraint constraints.txt \
    /wheels/crossfade-*.whl "$(echo /wheels/crossfade_services-*.whl)[registry]"

FROM python:${PYTHON_TAG}
RUN groupadd --gid 10001 crossfade \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/crossfade --shell /usr/sbin/nologin crossfade \
 && install -d -o crossfade -g crossfade -m 0750 /var/lib/crossfade
COPY --from=build /opt/crossfade /opt/crossfade
COPY docker/healthcheck.py /opt/crossfade/healthcheck.py
# The working folder is writable, so Python must not look for modules there.
ENV PATH=/opt/crossfade/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/crossfade
USER 10001:10001
EXPOSE 8400 9400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 CMD ["python", "/opt/crossfade/healthcheck.py"]
ENTRYPOINT ["python", "-m", "registry"]
