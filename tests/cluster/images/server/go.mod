module github.com/qualified/ephemeron/tests/cluster/images/server

go 1.25.0

require github.com/coder/websocket v1.8.15
