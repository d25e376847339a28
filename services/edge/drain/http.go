package drain

import (
	"encoding/json"
	"net/http"
	"time"
)

// answer is what HTTP is told.
type answer struct {
	Connections int      `json:"connections"` // that there are, also closing ones
	Draining    bool     `json:"draining"`
	Causes      []string `json:"causes"`
}

// ServeHTTP drains the edge: POST begins a drain and answers when no connection
// is left, and so does GET, for Kubernetes' preStop can send nothing else. DELETE
// takes back what either began. The status is 503 if connections are left or the
// drain was taken back meanwhile, and 409 if the edge drains for another cause as
// well. It belongs on a port that is not public; requests of web pages are
// refused.
func (d *Drain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
		http.Error(w, "not for web pages", http.StatusForbidden)
	case r.Method == http.MethodPost || r.Method == http.MethodGet:
		d.Set(Request, true)
		d.await(r)
		if a := d.answer(); a.Draining && a.Connections == 0 {
			write(w, http.StatusOK, a)
		} else {
			write(w, http.StatusServiceUnavailable, a)
		}
	case r.Method == http.MethodDelete:
		d.Set(Request, false)
		if a := d.answer(); a.Draining {
			write(w, http.StatusConflict, a)
		} else {
			write(w, http.StatusOK, a)
		}
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		http.Error(w, "GET or POST drains, DELETE takes it back", http.StatusMethodNotAllowed)
	}
}

// await waits for the end of the drain, for as long as whoever asks does.
func (d *Drain) await(r *http.Request) {
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	late := time.NewTimer(d.budget())
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	case <-r.Context().Done():
	}
}

func (d *Drain) answer() answer {
	a := answer{Connections: d.deps.Left(), Causes: []string{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	a.Draining = d.draining()
	for c := range causeCount {
		if d.causes[c] {
			a.Causes = append(a.Causes, c.String())
		}
	}
	return a
}

func write(w http.ResponseWriter, status int, a answer) {
	body, err := json.Marshal(a)
	if err != nil { // numbers and words always encode
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked has gone
}
