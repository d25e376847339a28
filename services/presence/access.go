package presence

import (
	"github.com/skein-mesh/skein/pkg/apikey"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// access says what each call of a presence instance needs.
func access() apikey.Rules {
	return apikey.Rules{
		presencev1.PeopleService_List_FullMethodName:     {Scope: apikey.Inspect, Topics: topicOf},
		presencev1.PeopleService_Count_FullMethodName:    {Scope: apikey.Inspect, Topics: topicOf},
		presencev1.PeopleService_Watch_FullMethodName:    {Scope: apikey.Inspect, Topics: topicOf},
		presencev1.PeopleService_IsOnline_FullMethodName: {Scope: apikey.Inspect},

		presencev1.FleetService_ServiceDesc.ServiceName:     {Scope: apikey.Inspect},
		presencev1.RebalanceService_Plan_FullMethodName:     {Scope: apikey.Inspect},
		presencev1.RebalanceService_Status_FullMethodName:   {Scope: apikey.Inspect},
		presencev1.RebalanceService_History_FullMethodName:  {Scope: apikey.Inspect},
		presencev1.RebalanceService_ServiceDesc.ServiceName: {Scope: apikey.Admin},
		adminv1.KeyService_ServiceDesc.ServiceName:          {Scope: apikey.Admin},
		adminv1.AdminService_Members_FullMethodName:         {Scope: apikey.Inspect},
		adminv1.AdminService_Node_FullMethodName:            {Scope: apikey.Inspect},
		adminv1.AdminService_ServiceDesc.ServiceName:        {Scope: apikey.Admin},

		presencev1.PresenceService_ServiceDesc.ServiceName: {Scope: apikey.Mesh},
		presencev1.PeopleService_Attach_FullMethodName:     {Scope: apikey.Mesh},
	}
}

// topicOf returns the topic that a request names.
func topicOf(request any) []string {
	if r, ok := request.(interface{ GetTopic() string }); ok {
		return []string{r.GetTopic()}
	}
	return nil
}
