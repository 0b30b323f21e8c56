module github.com/qualified/ephemeron/tests/cluster

go 1.25
