package rpc

// SetQueues makes the queues of streams that begin later as large as this, in bytes.
func (s *Service) SetQueues(edge, backend int) { s.queues = queues{edge, backend} }
