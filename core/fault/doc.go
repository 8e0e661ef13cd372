// Package fault proves the laws on the binary that users get, by breaking what is around it: processes are
// killed, the power is cut, the disk fails and fills, targets misbehave and senders attack. It holds tests
// alone, and it stands apart from the packages' own tests because it knows none of their insides: nothing of
// the product is replaced, so what it shows is what the product does. README.md says what is tried, how
// often, and what cannot be shown this way.
package fault
