package main

func plot(r []*result) string { return "" }
