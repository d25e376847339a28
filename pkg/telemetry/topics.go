package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// topicRatio is a [TopicRatio] as the admin port tells it.
type topicRatio struct {
	Topics string     `json:"topics"`
	Ratio  float64    `json:"ratio"`
	Until  *time.Time `json:"until,omitempty"`
}

// topicRatios serves the ratios of topics at /trace-topics: GET lists them, PUT
// with the parameters topics, ratio and maybe for sets one, DELETE with topics
// takes it back. Requests of web pages are refused.
type topicRatios struct{ *Telemetry }

// ServeHTTP implements [http.Handler].
func (t topicRatios) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
		http.Error(w, "not for web pages", http.StatusForbidden)
		return
	case r.Method == http.MethodGet:
	case r.Method == http.MethodPut:
		set, err := ratioOf(query.Get("topics"), query.Get("ratio"), query.Get("for"))
		if err == nil {
			err = t.Sampling.Set(set)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		t.Log.InfoContext(r.Context(), "traces of topics changed", "topics", fmt.Sprintf("%.100q", set.Topics), "ratio", set.Ratio)
	case r.Method == http.MethodDelete:
		if !t.Sampling.Unset(query.Get("topics")) {
			http.Error(w, "these topics have no ratio of their own", http.StatusNotFound)
			return
		}
		t.Log.InfoContext(r.Context(), "traces of topics are as of all", "topics", fmt.Sprintf("%.100q", query.Get("topics")))
	default:
		w.Header().Set("Allow", "GET, PUT, DELETE")
		http.Error(w, "GET lists, PUT sets, DELETE takes back", http.StatusMethodNotAllowed)
		return
	}
	t.list(w)
}

func (t topicRatios) list(w http.ResponseWriter) {
	list := []topicRatio{}
	for _, r := range t.Sampling.Topics() {
		told := topicRatio{Topics: r.Topics, Ratio: r.Ratio}
		if !r.Until.IsZero() {
			told.Until = &r.Until
		}
		list = append(list, told)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(list) //nolint:errchkjson // whoever asked has gone; ratios are finite
}

// ratioOf reads the parameters of a PUT.
func ratioOf(topics, ratio, during string) (TopicRatio, error) {
	r, err := ParseTopicRatio(topics + "=" + ratio)
	if err != nil || during == "" {
		return r, err
	}
	d, err := time.ParseDuration(during)
	if err != nil || d <= 0 {
		return r, fmt.Errorf("for: %.20q is not a positive duration, such as 5m", during)
	}
	r.Until = time.Now().Add(d)
	return r, nil
}
