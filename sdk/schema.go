package sdk

// Schema is the shape of a config block or of a record: attributes and nested blocks, by name.
type Schema struct {
	Attributes map[string]Attribute
	Blocks     map[string]Block
}

// Attribute is one name = value.
type Attribute struct {
	// Type as HCL writes it: "string", "number", "bool", "any", "list(string)", "map(bool)".
	Type string
	// Doc is one sentence in Markdown. Every attribute has one.
	Doc string
	// Required attributes must be present; null does not count.
	Required bool
	// Sensitive values are never printed.
	Sensitive bool
	// Enum, when not empty, holds the only strings allowed.
	Enum []string
	// Default is what the plugin assumes when the attribute is absent, as HCL writes it. It documents;
	// nothing fills it in.
	Default string
}

// Block is a nested block without labels.
type Block struct {
	Doc      string
	Required bool
	// Repeated blocks read as a list of objects, the others as one object.
	Repeated bool
	Body     Schema
}
