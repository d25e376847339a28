package router

import (
	"github.com/skein-mesh/skein/pkg/apikey"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// access says what each call of a router needs.
func access() apikey.Rules {
	return apikey.Rules{
		routerv1.RouterService_Publish_FullMethodName:       {Scope: apikey.Publish, Topics: topicsOf},
		routerv1.RouterService_PublishBatch_FullMethodName:  {Scope: apikey.Publish, Topics: topicsOf},
		routerv1.RouterService_PublishStream_FullMethodName: {Scope: apikey.Publish, Topics: topicsOf},
		routerv1.RouterService_Subscribe_FullMethodName:     {Scope: apikey.Subscribe, Topics: topicsOf},
		routerv1.RouterService_TopicInfo_FullMethodName:     {Scope: apikey.Inspect, Topics: topicsOf},
		routerv1.RouterService_Disconnect_FullMethodName:    {Scope: apikey.Disconnect, Topics: topicsOf},

		adminv1.KeyService_ServiceDesc.ServiceName:       {Scope: apikey.Admin},
		adminv1.AdminService_Members_FullMethodName:      {Scope: apikey.Inspect},
		adminv1.AdminService_Node_FullMethodName:         {Scope: apikey.Inspect},
		adminv1.AdminService_Connections_FullMethodName:  {Scope: apikey.Inspect},
		adminv1.AdminService_Connection_FullMethodName:   {Scope: apikey.Inspect},
		adminv1.AdminService_TracePublish_FullMethodName: {Scope: apikey.Inspect, Topics: topicsOf},
		adminv1.AdminService_Topics_FullMethodName:       {Scope: apikey.Inspect, Topics: topicsOf},
		adminv1.AdminService_ServiceDesc.ServiceName:     {Scope: apikey.Admin},

		meshv1.MeshService_ServiceDesc.ServiceName:       {Scope: apikey.Mesh},
		handlerv1.ChannelHandler_ServiceDesc.ServiceName: {Scope: apikey.Mesh},
	}
}

// topicsOf returns the topics that a request names; none if it is about others,
// too.
func topicsOf(request any) []string {
	switch r := request.(type) {
	case *routerv1.PublishRequest:
		return []string{r.GetMessage().GetTopic()}
	case *routerv1.PublishStreamRequest:
		return []string{r.GetMessage().GetTopic()}
	case *routerv1.PublishBatchRequest:
		topics := make([]string, len(r.GetMessages()))
		for i, m := range r.GetMessages() {
			topics[i] = m.GetTopic()
		}
		return topics
	case *routerv1.SubscribeRequest:
		if _, exact := r.GetFilter().(*routerv1.SubscribeRequest_Topic); exact {
			return []string{r.GetTopic()}
		}
		return []string{apikey.Prefix(r.GetPrefix())}
	case *routerv1.TopicInfoRequest:
		return []string{r.GetTopic()}
	case *adminv1.TracePublishRequest:
		return []string{r.GetTopic()}
	case *adminv1.TopicsRequest:
		return []string{apikey.Prefix(r.GetPrefix())}
	case *routerv1.DisconnectRequest:
		if r.GetTopic() != "" {
			return []string{r.GetTopic()}
		}
	}
	return nil
}
