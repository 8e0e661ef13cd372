// Package supervise runs the plugin processes: it finds the program of a target type, verifies it,
// launches one process for every target block, watches it and launches it again when it ends. It is
// apart from dispatch so that whoever delivers needs to know only that a plugin answers or is broken,
// and from sdk/host so that plugin authors get no process handling.
//
// A process is started as this executable, which limits itself and then becomes the program that was
// verified: by its open file, not by its name. It sees none of the host's environment but what is allowed by
// name, speaks mutual TLS over a socket in a folder of its own, and is the first of a process namespace, so
// that all it ever started ends with it, and it with the host. Where the system gives no namespace, its
// group is killed with it by us; then a child that left the group may outlive a plugin that crashed, and the
// group a host that was killed.
//
// A plugin that crashes, hangs, or takes more memory or processes than it may, is the same to everybody
// else: it broke with those records in flight.
package supervise
