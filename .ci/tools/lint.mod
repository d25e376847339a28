module github.com/skein-mesh/skein/ci/tools/lint

go 1.26.0
