-- +goose Up

-- Pending deliveries that wait for something else than their target: few, and counted often.
CREATE INDEX delivery_waiting ON delivery (target, reason) WHERE status = 0 AND reason <> '';

-- +goose Down

DROP INDEX delivery_waiting;
