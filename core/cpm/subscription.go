package cpm

// Subscription is a webhook subscription as the sender's API has it
// (docs-cpm.dataguard.com/reference/updatesubscriptionbyid). That an application is named in it, and how its
// id is called, is inferred.
type Subscription struct {
	ID             string         `json:"id,omitempty"`
	ApplicationID  string         `json:"applicationId,omitempty"`
	Name           string         `json:"name"`
	URL            string         `json:"url"`
	Status         string         `json:"status,omitempty"`
	UpdateType     string         `json:"updateType"`
	Authentication Authentication `json:"authentication"`
}

// Statuses of a Subscription. What happens while one is paused is discarded by the sender and not sent later.
const (
	Active = "active"
	Paused = "paused"
)

// Authentication is how the sender shows who it is. The words of AuthType are documented, and so are the fields of
// an API key. That those of a token stand directly in here is inferred.
type Authentication struct {
	AuthType string  `json:"authType"`
	APIKey   *APIKey `json:"apiKeyAuth,omitempty"`
	// Token is static, or, with a refresh token, the one to begin with.
	Token        string `json:"token,omitempty"`
	RefreshToken string `json:"refreshToken,omitempty"`
	RefreshURL   string `json:"refreshUrl,omitempty"`
	ClientID     string `json:"clientId,omitempty"`
	ClientSecret string `json:"clientSecret,omitempty"`
	// Place is where a token stands. The documents call it the token configuration and, as far as they could be
	// read, do not show it, so its name and its fields are a guess.
	Place *TokenPlace `json:"tokenConfiguration,omitempty"`
}

// AuthTypes.
const (
	AuthNone   = "none"
	AuthAPIKey = "api-key"
	AuthToken  = "token"
)

// APIKey is a key in a header or a query parameter of any name.
type APIKey struct {
	Location string `json:"location"` // header, query
	Key      string `json:"key"`
	Value    string `json:"value"`
}

// TokenPlace is where a token stands; absent, in Authorization after Bearer.
type TokenPlace struct {
	Location string `json:"location"`
	Key      string `json:"key"`
	Prefix   string `json:"prefix,omitempty"`
}
