package plan

// Transcode asks for the same picture in another file, without decoding it to
// pixels: input 0 as a whole becomes the output. Nothing else of the Job counts,
// and the Result says nothing of the picture.
type Transcode struct {
	To     string `json:"to"`               // ToJXL or ToJPEG
	Effort int    `json:"effort,omitempty"` // of ToJXL: 1 (fastest) to 9; 0 is 7
}

// What a file can be transcoded to. ToJXL makes a JPEG smaller, and answers only
// once the JPEG has come out of the result bit for bit; ToJPEG gives that JPEG back.
const (
	ToJXL  = "jxl"
	ToJPEG = "jpeg"
)

// Writes tells whether the job has an output file.
func (j *Job) Writes() bool { return j.Save != nil || j.Transcode != nil }
