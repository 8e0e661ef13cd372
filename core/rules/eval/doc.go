// Package eval checks and evaluates HCL on behalf of packages rules and config: expressions against the
// names they may use, and bodies against a plugin's schema. It stands alone because both need it, and
// because it knows neither citizens nor the daemon's own blocks.
//
// No diagnostic and no error of this package holds a value that an expression had; see Strip and Error.
package eval
