package sdktest

// checks are in the order in which an author had best mend them. Their names stay.
func checks() []check {
	all := []check{
		{"describe", "The plugin describes itself the same every time and touches neither network nor files.", checkDescribe},
		{"schema", "Everything is documented and well formed, and the suite's records fit.", checkSchema},
		{"config", "What is wrong in a configuration is refused with the path to it.", checkConfig},
		{"twice", "The same record twice equals once.", within(checkTwice)},
		{"converge", "Grant, withdrawal and grant lead where they should.", within(checkConverge)},
		{"unknown", "The withdrawal of somebody unknown ends well.", checkUnknown},
		{"outcomes", "Every record gets its own outcome.", within(checkOutcomes)},
		{"presence", "Null, absent and false are three different things.", checkPresence},
		{"concurrent", "Calls at once do not disturb one another.", checkConcurrent},
		{"cancel", "A call that is cancelled ends within a second.", within(checkCancel)},
		{"late", "A call that arrives when its time is over tells the vendor nothing.", within(checkLate)},
		{"close", "Close works at any time, also twice.", checkClose},
		{"goroutines", "Close leaves no goroutine and no connection behind.", checkGoroutines},
		{"secrets", "No secret and no personal value is told.", checkSecrets},
		{"check", "Check tells whether the credentials work and changes nothing.", within(checkChecker)},
		{"read", "Read tells what the vendor holds.", within(checkReader)},
		{"erase", "Erase removes a person.", within(checkEraser)},
	}
	for _, f := range failures() {
		all = append(all, check{f.name, f.what, within(checkFailure(f))})
	}
	return all
}
