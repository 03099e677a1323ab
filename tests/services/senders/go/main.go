// Sends the cases of standard input with Go's `cloudevents/sdk-go`; writes one status for each request.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

type content struct {
	Value any    `json:"value"`
	Bytes string `json:"bytes"`
}

type sent struct {
	Attributes map[string]any `json:"attributes"`
	Data       *content       `json:"data"`
}

type request struct {
	Mode   string `json:"mode"`
	Events []sent `json:"events"`
}

func made(from sent) event.Event {
	made := event.New()
	media := ""
	for name, value := range from.Attributes {
		text, _ := value.(string)
		switch name {
		case "specversion":
		case "id":
			made.SetID(text)
		case "source":
			made.SetSource(text)
		case "type":
			made.SetType(text)
		case "subject":
			made.SetSubject(text)
		case "dataschema":
			made.SetDataSchema(text)
		case "time":
			time, err := types.ParseTime(text)
			must(err)
			made.SetTime(time)
		case "datacontenttype":
			media = text
		default:
			if number, is := value.(float64); is {
				value = int32(number)
			}
			made.SetExtension(name, value)
		}
	}
	if from.Data == nil {
		return made
	}
	_, text := from.Data.Value.(string)
	switch {
	case from.Data.Bytes != "":
		bytes, err := base64.StdEncoding.DecodeString(from.Data.Bytes)
		must(err)
		must(made.SetData(media, bytes))
	case text || media == event.ApplicationJSON:
		must(made.SetData(media, from.Data.Value))
	default:
		// The SDK encodes no other JSON.
		bytes, err := json.Marshal(from.Data.Value)
		must(err)
		must(made.SetData(media, bytes))
	}
	return made
}

func post(mode string, events []event.Event) *http.Request {
	ctx, target := context.Background(), os.Getenv("TARGET")
	if mode == "batch" {
		post, err := cehttp.NewHTTPRequestFromEvents(ctx, target, events)
		must(err)
		return post
	}
	ctx = map[string]func(context.Context) context.Context{
		"binary": binding.WithForceBinary, "structured": binding.WithForceStructured,
	}[mode](ctx)
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	must(err)
	must(cehttp.WriteRequest(ctx, (*binding.EventMessage)(&events[0]), post))
	return post
}

func main() {
	var cases []request
	must(json.NewDecoder(os.Stdin).Decode(&cases))
	statuses := []int{}
	for _, one := range cases {
		events := []event.Event{}
		for _, each := range one.Events {
			events = append(events, made(each))
		}
		post := post(one.Mode, events)
		post.Header.Set("Authorization", os.Getenv("AUTHORIZATION"))
		answer, err := http.DefaultClient.Do(post)
		must(err)
		body, err := io.ReadAll(answer.Body)
		must(err)
		if answer.StatusCode >= 300 {
			fmt.Fprintln(os.Stderr, string(body))
		}
		statuses = append(statuses, answer.StatusCode)
	}
	must(json.NewEncoder(os.Stdout).Encode(statuses))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
