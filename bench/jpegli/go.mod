module safelight/bench/jpegli

go 1.26

require github.com/gen2brain/jpegli v0.3.4

require github.com/tetratelabs/wazero v1.9.0 // indirect
