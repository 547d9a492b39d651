package main

func (c *camera) walkDemo() error { return nil }
