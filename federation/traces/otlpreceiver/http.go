package otlpreceiver

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation/traces"
)

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

func (r *Receiver) newHTTP() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", r.post)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       10 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// ServeHTTP serves until Shutdown.
func (r *Receiver) ServeHTTP(l net.Listener) error {
	if err := r.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("take spans at %s: %w", l.Addr(), err)
	}
	return nil
}

func (r *Receiver) post(w http.ResponseWriter, request *http.Request) {
	kind, _, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil || kind != protobufType && kind != jsonType {
		http.Error(w, "want spans as "+protobufType+" or "+jsonType, http.StatusUnsupportedMediaType)
		return
	}
	leave, err := r.enter()
	if err != nil {
		fail(w, kind, err)
		return
	}
	defer leave()
	spans, err := r.read(w, request, kind)
	if err != nil {
		fail(w, kind, err)
		return
	}
	response, err := r.take(request.Context(), spans)
	if err != nil {
		fail(w, kind, err)
		return
	}
	text, err := responseAs(kind, response)
	if err != nil {
		fail(w, kind, status.Error(codes.Internal, "the response could not be written"))
		return
	}
	reply(w, kind, http.StatusOK, text)
}

// responseAs is an ExportTraceServiceResponse; nil is one that says nothing.
func responseAs(kind string, response *ptraceotlp.ExportResponse) ([]byte, error) {
	switch {
	case response == nil && kind == jsonType:
		return []byte("{}"), nil
	case response == nil:
		return nil, nil
	case kind == jsonType:
		return response.MarshalJSON()
	}
	return response.MarshalProto()
}

// errTooLarge is the error of a body that is never taken.
var errTooLarge = errors.New("too large")

func (r *Receiver) read(w http.ResponseWriter, request *http.Request, kind string) (ptrace.Traces, error) {
	text, err := r.body(w, request)
	if err != nil {
		return ptrace.Traces{}, err
	}
	decode := traces.Decode
	if kind == jsonType {
		decode = traces.DecodeJSON
	}
	spans, err := decode(text)
	if err != nil {
		return ptrace.Traces{}, malformed(err)
	}
	return spans, nil
}

// body is what was sent, decompressed: no more than a request may have, however
// it is compressed.
func (r *Receiver) body(w http.ResponseWriter, request *http.Request) ([]byte, error) {
	most := int64(r.config.MaxRequest)
	from := io.Reader(http.MaxBytesReader(w, request.Body, most))
	switch encoding := strings.ToLower(request.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unzip, err := gzip.NewReader(from)
		if err != nil {
			return nil, unreadable(err)
		}
		from = unzip
	default:
		return nil, malformed(fmt.Errorf("it is compressed with %.20q, not gzip", encoding))
	}
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case int64(len(text)) > most:
		return nil, errTooLarge
	}
	return text, nil
}

func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errTooLarge
	}
	return malformed(err)
}

// fail answers with a google.rpc.Status, as OTLP wants it.
func fail(w http.ResponseWriter, kind string, err error) {
	code := http.StatusInternalServerError
	said := status.Convert(err)
	switch {
	case errors.Is(err, errTooLarge):
		code, said = http.StatusRequestEntityTooLarge, status.New(codes.InvalidArgument, "a request of more bytes than are taken at once")
	case said.Code() == codes.InvalidArgument:
		code = http.StatusBadRequest
	case said.Code() == codes.ResourceExhausted, said.Code() == codes.Unavailable:
		code = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
	}
	marshal := proto.Marshal
	if kind == jsonType {
		marshal = protojson.Marshal
	}
	text, err := marshal(said.Proto())
	if err != nil { // there is nothing else to say
		w.WriteHeader(code)
		return
	}
	reply(w, kind, code, text)
}

func reply(w http.ResponseWriter, kind string, code int, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(text) // whom it doesn't reach sends again
}
