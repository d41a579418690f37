# The Worker: torch and fsspec; no SQLAlchemy.
# From the repository's root: docker build -f docker/worker.Dockerfile -t crossfade-worker .
# For NVIDIA GPUs add: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG PYTHON_TAG=3.11.13-slim-bookworm

# In a layer of its own, which stays as it is when only sources change: torch has hundreds of megabytes, with CUDA some gigabytes.
FROM python:${PYTHON_TAG} AS torch
# Where torch comes from. PyPI's own wheels for Linux bring the CUDA libraries.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt ./
# Of the same torch in both indexes, pip takes the one with a build label (+cpu, +cu126).
RUN python -m venv --without-pip /opt/crossfade \
 && pip --python /opt/crossfade/bin/python install --no-cache-dir --constraint constraints.txt \
    --extra-index-url "${TORCH_INDEX}" torch

FROM python:${PYTHON_TAG} AS build
WORKDIR /source
COPY pyproject.toml ./
COPY sdk ./sdk
COPY registry ./registry
COPY router ./router
COPY evaluator ./evaluator
COPY services ./services
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./sdk .

FROM python:${PYTHON_TAG}
# Further packages that fsspec needs for artifacts in object stores, as in "s3fs gcsfs".
ARG STORE_PACKAGES=""
# Packages of architectures that weights may be for (CROSSFADE_ARCHITECTURES).
ARG ARCHITECTURE_PACKAGES=""
# Debian packages of a compiler for CROSSFADE_COMPILE_PROGRAMS, as in "g++".
ARG COMPILER_PACKAGES=""
RUN if [ -n "${COMPILER_PACKAGES}" ]; then \
      apt-get update && apt-get install -y --no-install-recommends ${COMPILER_PACKAGES} && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=torch /opt/crossfade /opt/crossfade
COPY constraints.txt /opt/
COPY --from=build /wheels /opt/wheels
# The wheels are named by their files: the package index must never be asked for a package of their names. The torch that
# is there is kept, for it is the one that the constraints name.
RUN pip --python /opt/crossfade/bin/python install --no-cache-dir --constraint /opt/constraints.txt \
    ${STORE_PACKAGES} ${ARCHITECTURE_PACKAGES} \
    "$(echo /opt/wheels/crossfade-*.whl)[torch]" "$(echo /opt/wheels/crossfade_services-*.whl)[worker]"
RUN groupadd --gid 10001 crossfade \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/crossfade --shell /usr/sbin/nologin crossfade \
 && install -d -o crossfade -g crossfade -m 0750 /var/lib/crossfade
COPY docker/healthcheck.py /opt/crossfade/healthcheck.py
# The working folder is writable, so Python must not look for modules there.
ENV PATH=/opt/crossfade/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/crossfade
USER 10001:10001
# Each version's process listens on a port of its own besides, chosen when it starts.
EXPOSE 8600 9600
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 CMD ["python", "/opt/crossfade/healthcheck.py"]
ENTRYPOINT ["python", "-m", "services.worker"]
