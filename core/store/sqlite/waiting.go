package sqlite

import "context"

// Waiting counts the pending deliveries of each target that wait for something else than it, by reason.
func (s *Store) Waiting(ctx context.Context) (map[string]map[string]int64, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT target, reason, count(*) FROM delivery INDEXED BY delivery_waiting
		WHERE status = 0 AND reason <> '' GROUP BY target, reason`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]map[string]int64{}
	for rows.Next() {
		var target, reason string
		var n int64
		if err := rows.Scan(&target, &reason, &n); err != nil {
			return nil, err
		}
		if all[target] == nil {
			all[target] = map[string]int64{}
		}
		all[target][reason] = n
	}
	return all, rows.Err()
}
