package supervise

import "time"

// State is where a target's process stands.
type State int

const (
	// Running: the process is configured and takes records. Its end takes it out.
	Running State = iota
	// BackingOff: the process ended and is going to be launched, or is being launched. A launch that
	// succeeds takes it out.
	BackingOff
	// Closed: Close was called. Nothing takes it out.
	Closed
)

var stateNames = [...]string{"running", "backing off", "closed"}

func (s State) String() string { return stateNames[s] }

// Status is what is known of a target's process.
type Status struct {
	State State
	// Pid is zero when there is no process.
	Pid int
	// Memory, in bytes, and Processes are what the process takes with all that it started; zero before it was
	// looked at for the first time.
	Memory    int64
	Processes int
	// Since is when State came to be.
	Since time.Time
	// Restarts counts the launches after the first, those that failed included.
	Restarts int
	// LastExit is how the last process ended: "exit status 2", "signal: killed". Empty when none has.
	LastExit string
	// NextLaunch is zero unless State is BackingOff.
	NextLaunch time.Time
}

// Status is a copy.
func (t *Target) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.status
	if t.now != nil {
		s.Memory, s.Processes = t.now.process.memory.Load(), int(t.now.process.processes.Load())
	}
	return s
}
