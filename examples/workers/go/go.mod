module example.com/safelight-worker

go 1.22
