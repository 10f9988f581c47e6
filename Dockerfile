# The keeper alone: no Node, no compiler of C, no root. Its state is in /data, its settings are /etc/keeper/keeper.toml.
FROM python:3.11-slim-bookworm AS build
# An index that has torch's CPU build makes the image gigabytes smaller: --build-arg PIP_EXTRA_INDEX_URL=ADDRESS
ARG PIP_EXTRA_INDEX_URL
ENV PATH=/opt/keeper/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off
RUN python3 -m venv /opt/keeper
WORKDIR /source
COPY requirements.lock ./
RUN pip install -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY models models
COPY chain chain
COPY keeper keeper
# -I keeps /source off the path, so that the contracts are compiled into the cache of the installed package.
RUN pip install --no-deps --no-build-isolation . \
    && python3 -I -c "from chain.compiler import compile_all; compile_all()" \
    && settings="$(python3 -I -c 'from config.load import DEFAULT_SETTINGS; print(DEFAULT_SETTINGS)')" \
    && install -D -m 644 "$settings" /etc/keeper/keeper.toml \
    && ln -sf /etc/keeper/keeper.toml "$settings" \
    && chmod -R a+rX /opt/keeper

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 keeper \
    && useradd --system --uid 10001 --gid keeper --home-dir /data --shell /usr/sbin/nologin keeper \
    && install -d -o keeper -g keeper /data
COPY --from=build /opt/keeper /opt/keeper
COPY --from=build /etc/keeper /etc/keeper
ENV PATH=/opt/keeper/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s CMD ["keeper", "status", "--json"]
ENTRYPOINT ["keeper"]
CMD ["run"]
