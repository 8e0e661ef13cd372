package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// quota is a control group whose processes may use part of the machine's CPU, so that what one of several does can be
// told from what they do to each other.
type quota struct{ dir string }

// quotaPeriod is the time over which a quota is kept, in microseconds: short, so that nobody stands still for long.
const quotaPeriod = 10_000

var errNoQuota = errors.New("no control group for CPU can be made here; it takes root, and Linux's cgroup v1 or v2 under /sys/fs/cgroup")

// newQuota makes a group that may use so many cores.
func newQuota(name string, cores float64) (*quota, error) {
	most := strconv.Itoa(int(cores * quotaPeriod))
	var q *quota
	for _, of := range []struct {
		parent   string
		settings [][2]string
	}{
		{"/sys/fs/cgroup/cpu", [][2]string{{"cpu.cfs_period_us", strconv.Itoa(quotaPeriod)}, {"cpu.cfs_quota_us", most}}},
		{"/sys/fs/cgroup", [][2]string{{"cpu.max", fmt.Sprint(most, " ", quotaPeriod)}}},
	} {
		q = &quota{dir: filepath.Join(of.parent, "consentd-bench-"+name)}
		if os.Mkdir(q.dir, 0o755) != nil {
			continue
		}
		err := error(nil)
		for _, s := range of.settings {
			err = errors.Join(err, os.WriteFile(filepath.Join(q.dir, s[0]), []byte(s[1]), 0))
		}
		if err == nil {
			return q, nil
		}
		q.remove()
	}
	return nil, missing{errNoQuota}
}

// hold puts a process and all that it starts from now on into the group.
func (q *quota) hold(pid int) error {
	return os.WriteFile(filepath.Join(q.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// remove removes the group, when all its processes have ended.
func (q *quota) remove() { _ = os.Remove(q.dir) }
