package remote

import "time"

// SetClock lets a test say what time it is; before the service is used.
func (s *Service) SetClock(now func() time.Time) { s.now = now }
