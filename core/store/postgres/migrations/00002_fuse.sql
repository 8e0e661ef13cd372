-- +goose Up

-- Whether what is in flight counts for its target's fuse. What was sent counts by delivery.granted from its settlement on.
ALTER TABLE claim ADD grants boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE claim DROP grants;
