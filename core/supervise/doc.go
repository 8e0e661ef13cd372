// Package supervise runs the plugin processes: it finds the program of a target type, verifies it,
// launches one process for every target block, watches it and launches it again when it ends. It is
// apart from dispatch so that whoever delivers needs to know only that a plugin answers or is broken,
// and from sdk/host so that plugin authors get no process handling.
//
// A process sees none of the host's environment but what is allowed by name, leads a process group of
// its own, speaks mutual TLS over a socket in a folder of its own, and is killed with its group by the
// kernel or by us, whoever comes first, when the host goes or when the target is closed. A child that
// leaves the group and outlives its plugin is beyond our reach; the unit file's control group is not.
package supervise
