"""gRPC clients: of services that are clusters here (``envoy_grpc``) and over grpcio (``google_grpc``)."""
