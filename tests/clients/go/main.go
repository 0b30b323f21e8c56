// The whole life of a service, with the client of oapi-codegen.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"ephemeron-client/ephemeron"

	"github.com/google/uuid"
	"github.com/tmaxmax/go-sse"
)

// need is a variable of the environment.
func need(name string) string {
	value := os.Getenv(name)
	check(value != "", "%s is not set", name)
	return value
}

func check(holds bool, format string, values ...any) {
	if !holds {
		log.Fatalf(format, values...)
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

// Every answer of the generated client has its body, and which of its fields is set tells the status.
type answer interface {
	StatusCode() int
	GetBody() []byte
}

// ok is an answer's part for success; where it is not there, the API says why.
func ok[T any](of answer, success *T) T {
	if success == nil {
		var said ephemeron.Error
		check(json.Unmarshal(of.GetBody(), &said) == nil, "%d: %s", of.StatusCode(), of.GetBody())
		log.Fatalf("%d: %s", of.StatusCode(), said.Message)
	}
	return *success
}

// withToken is a client for whom the token is. It lives for five minutes: a backend gets one for each user,
// when that user needs something.
func withToken(token string) *ephemeron.ClientWithResponses {
	bearer := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	return must(ephemeron.NewClientWithResponses(need("API_URL"), ephemeron.WithRequestEditorFn(bearer)))
}

// open is a service's page. Names below `localhost` have no DNS: elsewhere this is http.Get(*service.Url).
func open(service ephemeron.Service) string {
	request := must(http.NewRequest(http.MethodGet, need("GATEWAY"), nil))
	request.Host = *service.Host
	response := must(http.DefaultClient.Do(request))
	defer response.Body.Close()
	check(response.StatusCode == http.StatusOK, "the service answers %s", response.Status)
	return string(must(io.ReadAll(response.Body)))
}

func ptr[T any](value T) *T { return &value }

func main() {
	ctx := context.Background()
	app, key, preset := need("APP"), need("KEY"), need("PRESET")
	uid := ("go-" + uuid.NewString())[:36]

	// Who calls: a backend, for one of its users.
	anonymous := must(ephemeron.NewClientWithResponses(need("API_URL")))
	login := must(anonymous.LoginWithResponse(ctx, ephemeron.Login{App: app, Key: key, Uid: uid}))
	api := withToken(ok(login, login.JSON200).Token)

	// What there is.
	presets := must(api.ListPresetsWithResponse(ctx))
	found := false
	for _, one := range ok(presets, presets.JSON200).Presets {
		found = found || one.Name == preset
	}
	check(found, "there is no preset %s", preset)

	// Create. Sent again with the same key, it is the same service.
	wanted := ephemeron.NewService{Preset: preset, LifetimeMinutes: ptr(uint32(10))}
	params := &ephemeron.CreateServiceParams{IdempotencyKey: ptr(uuid.NewString())}
	create := must(api.CreateServiceWithResponse(ctx, params, wanted))
	created := ok(create, create.JSON202)
	again := must(api.CreateServiceWithResponse(ctx, params, wanted))
	check(ok(again, again.JSON202).Id == created.Id, "it was created twice")

	// What the preset does not take is told by name.
	wrong := wanted
	wrong.Parameters = &map[string]any{"colour": "red"}
	refused := must(api.CreateServiceWithResponse(ctx, &ephemeron.CreateServiceParams{}, wrong)).JSON422
	check(refused != nil && refused.Faults != nil && (*refused.Faults)[0].Pointer == "/colour", "not refused")

	// Wait until it is available, and open it.
	wait := &ephemeron.ReadServiceParams{Wait: ptr(uint32(120))}
	read := must(api.ReadServiceWithResponse(ctx, created.Id, wait))
	service := ok(read, read.JSON200)
	check(service.Phase == ephemeron.Available, "it is %s: %v", service.Phase, service.Message)
	check(strings.Contains(open(service), "Welcome to nginx!"), "it is not nginx that answers")

	// It lives longer.
	longer := ephemeron.NewEnd{LifetimeMinutes: ptr(uint32(60))}
	extend := must(api.ExtendServiceWithResponse(ctx, created.Id, longer))
	end := ok(extend, extend.JSON200).ExpirationTime
	check(end.After(created.ExpirationTime), "it does not live longer")
	list := must(api.ListServicesWithResponse(ctx, &ephemeron.ListServicesParams{}))
	services := ok(list, list.JSON200).Services
	check(len(services) == 1 && services[0].Id == created.Id && services[0].ExpirationTime.Equal(end),
		"there are others: %v", services)

	// Follow it to its end. The stream begins with the service as it is. FollowServiceWithResponse would wait
	// for the end of the stream; FollowService gives the response as it comes.
	stream := must(api.ClientInterface.FollowService(ctx, created.Id))
	check(stream.StatusCode == http.StatusOK, "the stream is refused: %s", stream.Status)
	var kinds []ephemeron.Kind
	for message, err := range sse.Read(stream.Body, nil) {
		check(err == nil, "the stream breaks: %v", err)
		var event ephemeron.Event
		check(json.Unmarshal([]byte(message.Data), &event) == nil, "not an event: %s", message.Data)
		if len(kinds) == 0 {
			check(event.Service.Id == created.Id, "another service: %v", event)
			gone := must(api.DeleteServiceWithResponse(ctx, created.Id))
			check(gone.StatusCode() == http.StatusNoContent, "it is not deleted: %s", gone.Body)
		}
		kinds = append(kinds, event.Kind)
	}
	stream.Body.Close()
	check(kinds[0] == ephemeron.KindService && kinds[len(kinds)-1] == ephemeron.KindGone, "events: %v", kinds)

	// Nothing is left of it.
	missing := must(api.ReadServiceWithResponse(ctx, created.Id, &ephemeron.ReadServiceParams{})).JSON404
	check(missing != nil && strings.Contains(missing.Message, created.Id), "it is still there")

	// The backend itself sees the services of all its users, and can delete many at once.
	create = must(api.CreateServiceWithResponse(ctx, &ephemeron.CreateServiceParams{}, wanted))
	second := ok(create, create.JSON202)
	loginApp := must(anonymous.LoginAppWithResponse(ctx, ephemeron.AppLogin{App: app, Key: key}))
	backend := withToken(ok(loginApp, loginApp.JSON200).Token)
	ofUser := &ephemeron.ListServicesParams{User: &uid}
	list = must(backend.ListServicesWithResponse(ctx, ofUser))
	services = ok(list, list.JSON200).Services
	check(len(services) == 1 && services[0].Id == second.Id && *services[0].User == uid+"."+app,
		"not the user's: %v", services)
	deleted := must(backend.DeleteServicesWithResponse(ctx, &ephemeron.DeleteServicesParams{User: &uid}))
	outcome := ok(deleted, deleted.JSON200)
	check(outcome.Matched == 1 && outcome.Done == 1 && outcome.Failed == 0, "outcome: %v", outcome)
	list = must(backend.ListServicesWithResponse(ctx, ofUser))
	check(len(ok(list, list.JSON200).Services) == 0, "something is left")

	fmt.Printf("go: %s has lived, from its creation to its end\n", created.Id)
}
