//! Real sockets: the handler seam, our HTTP/2 engine for gRPC, and HTTP/1.1 beside it.
