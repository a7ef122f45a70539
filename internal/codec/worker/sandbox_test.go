package worker

func breakOut() {}
