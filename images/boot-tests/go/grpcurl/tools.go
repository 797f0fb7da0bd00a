//go:build tools

// Package tools names the program that is built from this module's dependencies.
package tools

import _ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
