// Package sdk is all that the author of a consentd plugin imports.
//
// A plugin describes a target type (its configuration, what a record may hold, the vendor's limits)
// and makes targets of it; a target has one required verb, Deliver. consentd launches the plugin as
// a process of its own, one for each target block, and owns everything about time: retries, back-off,
// order, rate and what happens after a crash. So a target does one attempt and says truthfully what
// became of it.
package sdk
