package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"safelight/internal/cdkblob/s3test"
)

// bearer are the headers of a request with the key of mirrorEnv.
var bearer = []string{"Authorization", "Bearer " + mirrorKey}

const mirrorKey = "a-key-for-events-0123456789abcdef"

// mirrorEnv is a server's environment with a mirror of a bucket.
func mirrorEnv(url string) []string {
	return append(s3test.Env(),
		"SAFELIGHT_MIRRORS={shop: {url: '"+url+"', prefix: shop, delete: true}}",
		"SAFELIGHT_AUTH_KEYS=[{name: events, token: "+mirrorKey+", scopes: [read, upload, admin]}]",
		"SAFELIGHT_TASKS_DEFAULT_RETRY_UNIT=10ms",
	)
}

// TestMirror changes objects of a bucket by the AWS SDK, whose server tells of
// it: pictures appear, change and go.
func TestMirror(t *testing.T) {
	storage := s3test.Start(t)
	address := storage.Bucket("pictures", "below")
	sdk := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(storage.Endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s3test.AccessKey, s3test.SecretKey, ""),
	})
	put := func(name string, body []byte) {
		t.Helper()
		if _, err := sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("pictures"), Key: aws.String(name), Body: bytes.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
	}
	early := jpegOf(t, scene(60, 40, 7))
	put("below/early.jpg", early) // before the server is there
	s := start(t, "", mirrorEnv(address)...)
	shows := func(key string, body []byte) {
		t.Helper()
		eventually(t, func() bool {
			a := s.get("/images/shop/"+key, bearer...)
			return body == nil && a.status == http.StatusNotFound || body != nil && a.status == http.StatusOK && bytes.Equal(a.body, body)
		}, func() string {
			return fmt.Sprintf("%s: %d\n%s\n%s", key, s.get("/images/shop/"+key, bearer...).status, s.get("/v1/tasks", bearer...).body, s.log)
		})
	}
	shows("early.jpg", early) // found by the first scan
	storage.Stop()
	storage.Events = strings.Replace(s.url, "http://", "http://events:"+mirrorKey+"@", 1) + "/v1/events/s3"
	storage.Run()
	one, two, three := jpegOf(t, scene(60, 40, 1)), jpegOf(t, scene(60, 40, 2)), pngOf(t, scene(30, 30, 3))
	put("below/a.jpg", one)
	put("below/deep/ä b+c%.png", three)
	put("below/notes.txt", []byte("text"))
	put("elsewhere/x.jpg", one)
	shows("a.jpg", one)
	shows("deep/%C3%A4%20b+c%25.png", three)
	rendition := func() string { return digestOf(s.get("/images/shop/a.jpg?w=20&format=png", bearer...).body) }
	before := rendition()
	put("below/a.jpg", two)
	shows("a.jpg", two)
	if rendition() == before {
		t.Error("a rendition of the replaced object is still shown")
	}
	if _, err := sdk.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("pictures"), Key: aws.String("below/a.jpg")}); err != nil {
		t.Fatal(err)
	}
	shows("a.jpg", nil)
	_, err := sdk.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("pictures"), Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: aws.String("below/early.jpg")}, {Key: aws.String("below/missing.jpg")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	shows("early.jpg", nil)
	list := string(s.get("/v1/images", bearer...).body)
	if strings.Count(list, `"id"`) != 1 {
		t.Errorf("there is more than the one picture: %s", list)
	}
	// A change that nobody tells of is found by a scan.
	storage.Stop()
	storage.Events = ""
	storage.Run()
	put("below/a.jpg", one)
	if _, err := sdk.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("pictures"), Key: aws.String("below/deep/ä b+c%.png")}); err != nil {
		t.Fatal(err)
	}
	a := s.do(http.MethodPost, "/v1/tasks", strings.NewReader(`{"function": "mirror-scan", "args": {"mirror": "shop"}}`), append(bearer, "Content-Type", "application/json")...)
	if a.status >= 300 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	shows("a.jpg", one)
	shows("deep/%C3%A4%20b+c%25.png", nil)
	if strings.Contains(s.log.String(), mirrorKey) {
		t.Errorf("the log has the key:\n%s", s.log)
	}
}

// TestEvents sends notifications in every form, and what is none.
func TestEvents(t *testing.T) {
	storage := s3test.Start(t)
	s := start(t, "", mirrorEnv(storage.Bucket("pictures", "below"))...)
	record := func(bucket, key string) string {
		return fmt.Sprintf(`{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q,"size":1,"sequencer":"0055AED6DCD90281E5"}}}`, bucket, key)
	}
	sns := func(kind, message string) string {
		return fmt.Sprintf(`{"Type":%q,"MessageId":"x","TopicArn":"arn:aws:sns:eu-central-1:1:t","Message":%q,"SubscribeURL":"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"}`, kind, message)
	}
	for name, c := range map[string]struct {
		body           string
		status         int
		objects, tasks int
	}{
		"S3":                {`{"Records":[` + record("pictures", "below/a.jpg") + `,` + record("pictures", "below/b%2Cc.jpg") + `]}`, 200, 2, 3},
		"MinIO":             {`{"EventName":"s3:ObjectCreated:Put","Key":"pictures/below/a.jpg","Records":[` + record("pictures", "below%2Fa.jpg") + `]}`, 200, 1, 1},
		"SNS":               {sns("Notification", `{"Records":[`+record("pictures", "below/a.jpg")+`]}`), 200, 1, 1},
		"a subscription":    {sns("SubscriptionConfirmation", "You have chosen to subscribe"), 200, 0, 0},
		"EventBridge":       {`{"version":"0","detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"pictures"},"object":{"key":"below/a+b%20.jpg"}}}`, 200, 1, 1},
		"a test":            {`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"pictures"}`, 200, 0, 0},
		"elsewhere":         {`{"Records":[` + record("others", "below/a.jpg") + `,` + record("pictures", "above/a.jpg") + `,` + record("pictures", "below/") + `]}`, 200, 3, 0},
		"no bucket":         {`{"Records":[` + record("", "below/a.jpg") + `]}`, 400, 0, 0},
		"no JSON":           {`<xml/>`, 400, 0, 0},
		"something else":    {`{"hello":"world"}`, 400, 0, 0},
		"something in SNS":  {sns("Notification", `hello`), 400, 0, 0},
		"more than allowed": {`{"Event":"` + strings.Repeat("x", 1<<20) + `"}`, 413, 0, 0},
	} {
		a := s.do(http.MethodPost, "/v1/events/s3", strings.NewReader(c.body), append(bearer, "Content-Type", "text/plain; charset=UTF-8")...)
		if a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if c.status != http.StatusOK {
			continue
		}
		var got struct{ Objects, Tasks int }
		if a.json(t, &got); got.Objects != c.objects || got.Tasks != c.tasks {
			t.Errorf("%s: %s, expected %d objects and %d tasks", name, a.body, c.objects, c.tasks)
		}
	}
	if !strings.Contains(s.log.String(), "Action=ConfirmSubscription") {
		t.Errorf("the log does not say how to confirm:\n%s", s.log)
	}
	body := `{"Records":[` + record("pictures", "below/a.jpg") + `]}`
	a := s.do(http.MethodPost, "/v1/events/s3", strings.NewReader(body))
	if a.status != http.StatusUnauthorized || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic") {
		t.Errorf("without a key: %d, %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	if a := s.get("/v1/tasks"); a.header.Get("WWW-Authenticate") != `Bearer realm="safelight"` {
		t.Errorf("elsewhere: %q", a.header.Get("WWW-Authenticate"))
	}
}
