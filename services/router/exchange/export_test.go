package exchange

// RowsKept counts the topics that have rows, stale or not.
func RowsKept(x *Exchange) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, topics := range x.rows.byTopic {
		n += len(topics)
	}
	return n
}
