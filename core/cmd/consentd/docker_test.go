package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

const dockerExample = root + "/examples/deploy/docker/"

// TestDockerImage builds the image of a release's binary, which takes no base image and so no registry, and runs what is
// in it as the user that it names: no shell, no /etc/passwd, no C library.
func TestDockerImage(t *testing.T) {
	look()
	_, err := exec.LookPath("buildah")
	if err == nil && os.Geteuid() != 0 {
		err = fmt.Errorf("this is user %d", os.Geteuid())
	}
	if err == nil { // not every machine lets its root do this
		err = exec.Command("unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt").Run()
	}
	needs(t, "root, namespaces and Debian's buildah", err)
	context, storage := t.TempDir(), t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(context, "consentd"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	put(t, context, "ca-certificates.crt", "", 0o600)
	if err := os.CopyFS(filepath.Join(context, "examples/deploy/docker"), os.DirFS(dockerExample)); err != nil {
		t.Fatal(err)
	}
	buildah := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("buildah", append([]string{"--storage-driver", "vfs", "--root", storage + "/root", "--runroot", storage + "/run"}, args...)...)
		cmd.Dir = context
		var errors strings.Builder
		cmd.Stderr = &errors
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("buildah %q: %v\n%s%s", args, err, out, errors.String())
		}
		return strings.TrimSpace(string(out))
	}
	buildah("bud", "--isolation", "chroot", "--format", "docker", "--target", "prebuilt", "--tag", "consentd", "--file", "examples/deploy/docker/Dockerfile", ".")
	container := buildah("from", "consentd")
	t.Cleanup(func() { buildah("rm", "--all") })
	rootfs := buildah("mount", container)

	var image struct {
		Docker struct {
			Config struct {
				User        string
				Env         []string
				Entrypoint  []string
				Cmd         []string
				Volumes     map[string]struct{}
				Healthcheck struct{ Test []string }
			}
		}
	}
	if err := json.Unmarshal([]byte(buildah("inspect", "consentd")), &image); err != nil {
		t.Fatal(err)
	}
	c := image.Docker.Config
	if _, there := c.Volumes["/var/lib/consentd"]; c.User != "65532:65532" || !there || len(c.Entrypoint) != 1 || len(c.Healthcheck.Test) < 2 {
		t.Fatalf("the image says %+v", c)
	}
	for _, absent := range []string{"bin", "etc/passwd", "lib", "lib64", "usr/bin"} {
		if _, err := os.Stat(filepath.Join(rootfs, absent)); err == nil {
			t.Errorf("the image has /%s", absent)
		}
	}

	goes := map[string]bool{
		"go.mod": true, "core/cmd/consentd/main.go": true, "examples/deploy/docker/rootfs/run/consentd/.keep": true,
		"consentd.db": false, ".git/config": false, "secret.env": false, "examples/deploy/docker/config.hcl": false,
	}
	for file := range goes {
		put(t, context, file, "", 0o600)
	}
	put(t, context, "everything", "FROM scratch\nCOPY . /\n", 0o600)
	buildah("bud", "--isolation", "chroot", "--tag", "everything", "--ignorefile", "examples/deploy/docker/Dockerfile.dockerignore", "--file", "everything", ".")
	sent := buildah("mount", buildah("from", "everything"))
	for file, goes := range goes {
		if _, err := os.Stat(filepath.Join(sent, file)); (err == nil) != goes {
			t.Errorf("%s goes to the build: %v", file, err == nil)
		}
	}

	// What a runtime mounts: the configuration, the secrets, /proc, and a root that nobody can write to.
	put(t, context, "etc/consentd.hcl", readFile(t, dockerExample+"config.hcl"), 0o644)
	put(t, context, "secrets/cpm_key", "secret-key", 0o644)
	put(t, context, "secrets/store_key", strings.Repeat("0f", 32), 0o644)
	mount := fmt.Sprintf(`set -e
mount --make-rprivate /
mount --bind %[1]q /mnt
for d in proc dev run/secrets; do mkdir -p /mnt/$d; done
mount -t proc proc /mnt/proc
mount --rbind /dev /mnt/dev
mount --bind %[2]q/etc /mnt/etc/consentd
mount --bind %[2]q/secrets /mnt/run/secrets
for d in run var/lib; do mount -t tmpfs -o uid=65532,gid=65532,mode=0700 tmpfs /mnt/$d/consentd; done
mount -o remount,bind,ro /mnt

cd /mnt
exec "$@"`, rootfs, context)
	run := func(environment []string, args ...string) *exec.Cmd {
		inside := append([]string{"--mount", "--pid", "--fork", "sh", "-c", mount, "sh", "chroot", "--userspec=" + c.User, "/mnt"}, args...)
		cmd := exec.Command("unshare", inside...)
		cmd.Env = append(append(c.Env, "PATH="+os.Getenv("PATH")), environment...)
		// A group, since unshare's --kill-child is forgotten when chroot takes another user.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = patience
		return cmd
	}
	if out, err := run(nil, append(c.Entrypoint, "validate", "--offline")...).CombinedOutput(); err != nil {
		t.Fatalf("validate: %v\n%s", err, out)
	}

	// Ports of its own, since the network is the machine's.
	i, s := &instance{t: t, listener: freeAddress(t), admin: freeAddress(t)}, newSink(t)
	put(t, context, "etc/consentd.hcl", strings.NewReplacer(`":8484"`, `"`+i.listener+`"`, "http://127.0.0.1:8080/consent", s.url).
		Replace(readFile(t, dockerExample+"config.hcl"))+fmt.Sprintf("\nadmin {\n  address = %q\n}\n", i.admin), 0o644)
	daemon := run(nil, append(c.Entrypoint, c.Cmd...)...)
	daemon.Stdout, daemon.Stderr = &i.log, &i.log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = daemon.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Log(tail(i.log.String(), 60))
		}
	})
	eventually(t, "the image's own health check finds its target running", func() bool {
		select {
		case <-ended:
			t.Fatalf("it ended: %v", daemon.ProcessState)
		default:
		}
		// CMD and then what is executed.
		check := run([]string{"CONSENTD_ADMIN_ADDR=" + i.admin}, c.Healthcheck.Test[1:]...)
		out, err := check.CombinedOutput()
		return err == nil && strings.Contains(string(out), "app     webhook  running")
	})
	i.accept(update("ada", "GRANTED", 1))
	eventually(t, "the application has it", func() bool { return s.count() == 1 })

	init, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", daemon.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(init)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		if daemon.ProcessState.ExitCode() != 0 {
			t.Errorf("it ended with %v", daemon.ProcessState)
		}
	case <-time.After(patience):
		t.Error("it does not end on the image's stop signal")
	}
}

// TestCompose holds the example to the image: what it mounts is there, and the command of its health check is the image's.
func TestCompose(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Volumes     []string
			Secrets     []string
			Tmpfs       []string
			Healthcheck struct{ Test []string }
		}
		Volumes map[string]any
		Secrets map[string]struct{ File string }
	}
	if err := yaml.Unmarshal([]byte(readFile(t, dockerExample+"compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	dockerfile, config := readFile(t, dockerExample+"Dockerfile"), readFile(t, dockerExample+"config.hcl")
	service := compose.Services["consentd"]
	for _, v := range service.Volumes {
		from, to, _ := strings.Cut(v, ":")
		to, _, _ = strings.Cut(to, ":")
		if _, named := compose.Volumes[from]; named {
			if !strings.Contains(dockerfile, "\nVOLUME "+to+"\n") {
				t.Errorf("%s is no volume of the image", to)
			}
			continue
		}
		if _, err := os.Stat(dockerExample + from); err != nil {
			t.Error(err)
		}
		if filepath.Dir(to) != "/etc/consentd" {
			t.Errorf("%s is not where the image's configuration is", to)
		}
	}
	for _, mounted := range service.Tmpfs {
		folder, _, _ := strings.Cut(mounted, ":")
		if _, err := os.Stat(dockerExample + "rootfs" + folder); err != nil {
			t.Error(err)
		}
	}
	for _, secret := range service.Secrets {
		if compose.Secrets[secret].File != "./secrets/"+secret || !strings.Contains(config, `file("/run/secrets/`+secret+`")`) {
			t.Errorf("the secret %s is %+v", secret, compose.Secrets[secret])
		}
	}
	check, err := json.Marshal(service.Healthcheck.Test[1:])
	if err != nil {
		t.Fatal(err)
	}
	if inImage := strings.ReplaceAll(string(check), ",", ", "); !strings.Contains(dockerfile, "CMD "+inImage+"\n") || len(service.Secrets) != 2 {
		t.Errorf("secrets %q, health check %s", service.Secrets, inImage)
	}
}

// TestDockerIgnore holds what goes to the build to what the Dockerfile and the Go compiler need of it.
func TestDockerIgnore(t *testing.T) {
	needed := map[string]bool{"go.mod": true, "go.sum": true}
	for _, pkg := range goList(t, "-deps", "./core/cmd/consentd") {
		if rest, ours := strings.CutPrefix(pkg, module); ours {
			top, _, _ := strings.Cut(rest, "/")
			needed[top] = true
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY (?:--ch\w+=\S+ )?(.+) \S+$`).FindAllStringSubmatch(readFile(t, dockerExample+"Dockerfile"), -1) {
		for _, from := range strings.Fields(m[1]) {
			if from != "." && !strings.HasPrefix(from, "--from") && !strings.HasPrefix(from, "/") {
				needed[strings.TrimSuffix(from, "/")] = true
			}
		}
	}
	goes := map[string]bool{}
	everything := false
	for line := range strings.Lines(readFile(t, dockerExample+"Dockerfile.dockerignore")) {
		line = strings.TrimSpace(line)
		everything = everything || line == "*"
		if name, back := strings.CutPrefix(line, "!"); back {
			goes[name] = true
		}
	}
	if !everything || !maps.Equal(goes, needed) || len(needed) < 8 {
		t.Errorf("to the build go %q, and it needs %q", slices.Sorted(maps.Keys(goes)), slices.Sorted(maps.Keys(needed)))
	}
}
