"""The camera streaming daemon: a live stream on HTTP and WebSocket. Everything but `cli` and `config` needs the
extra `serve`."""
