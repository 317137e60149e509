//! Server reflection: which services there are, and their definitions.

use crate::Error;
use crate::row::{Row, service_names};
use bytes::Bytes;
use net::rpc::{Code, Status, StreamHandler, StreamSender};
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use proto::grpc::reflection::v1::server_reflection_request::MessageRequest as Ask;
use proto::grpc::reflection::v1::server_reflection_response::MessageResponse as Answer;
use proto::grpc::reflection::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use std::sync::OnceLock;

/// `ServerReflection.ServerReflectionInfo`, in both of its versions.
pub(crate) fn open(rows: &'static [Row], out: StreamSender) -> Box<dyn StreamHandler> {
    Box::new(Reflection { rows, out })
}

struct Reflection {
    rows: &'static [Row],
    out: StreamSender,
}

impl StreamHandler for Reflection {
    fn message(&mut self, body: Bytes) {
        let Ok(request) = ServerReflectionRequest::decode(body) else {
            return self.out.finish(Error::Malformed);
        };
        let response = ServerReflectionResponse {
            valid_host: request.host.clone(),
            message_response: Some(answer(self.rows, request.message_request.as_ref())),
            original_request: Some(request),
        };
        self.out.send(response.encode_to_vec().into());
    }

    fn half_close(&mut self) {
        self.out.finish(Status::OK);
    }

    fn writable(&mut self) {}

    fn closed(&mut self) {}
}

fn files() -> &'static [FileDescriptorProto] {
    static FILES: OnceLock<Vec<FileDescriptorProto>> = OnceLock::new();
    FILES.get_or_init(|| {
        FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET)
            .map(|set| set.file)
            .unwrap_or_default()
    })
}

fn answer(rows: &[Row], ask: Option<&Ask>) -> Answer {
    match ask {
        Some(Ask::ListServices(_)) => {
            let names = service_names(rows).into_iter();
            let service = names.map(|name| ServiceResponse { name: name.into() }).collect();
            Answer::ListServicesResponse(ListServiceResponse { service })
        }
        Some(Ask::FileByFilename(name)) => file_where(|file| file.name() == name),
        Some(Ask::FileContainingSymbol(symbol)) => file_where(|file| defines(file, symbol)),
        Some(Ask::FileContainingExtension(extension)) => file_where(|file| {
            file.extension.iter().any(|defined| {
                defined.number() == extension.extension_number
                    && defined.extendee().trim_start_matches('.') == extension.containing_type
            })
        }),
        Some(Ask::AllExtensionNumbersOfType(kind)) => {
            let extensions = files().iter().flat_map(|file| &file.extension);
            let of_kind = extensions.filter(|e| e.extendee().trim_start_matches('.') == kind);
            Answer::AllExtensionNumbersResponse(ExtensionNumberResponse {
                base_type_name: kind.clone(),
                extension_number: of_kind.map(|e| e.number()).collect(),
            })
        }
        None => error(Code::InvalidArgument, "no question was asked"),
    }
}

fn error(code: Code, text: &str) -> Answer {
    Answer::ErrorResponse(ErrorResponse { error_code: code as i32, error_message: text.into() })
}

/// A file and all that it is built on.
fn file_where(is_it: impl Fn(&FileDescriptorProto) -> bool) -> Answer {
    let Some(found) = files().iter().find(|file| is_it(file)) else {
        return error(Code::NotFound, "not found");
    };
    let mut wanted = vec![found.name().to_owned()];
    let mut at = 0;
    while at < wanted.len() {
        if let Some(file) = files().iter().find(|file| file.name() == wanted[at]) {
            for needed in &file.dependency {
                if !wanted.contains(needed) {
                    wanted.push(needed.clone());
                }
            }
        }
        at += 1;
    }
    let chosen = files().iter().filter(|file| wanted.iter().any(|name| name == file.name()));
    let file_descriptor_proto = chosen.map(|file| file.encode_to_vec().into()).collect();
    Answer::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
}

fn defines(file: &FileDescriptorProto, symbol: &str) -> bool {
    let Some(rest) = symbol.strip_prefix(file.package()) else { return false };
    let Some(name) = rest.strip_prefix('.') else { return false };
    let services = file.service.iter().any(|service| {
        name == service.name()
            || name
                .strip_prefix(service.name())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|method| service.method.iter().any(|known| known.name() == method))
    });
    services
        || file.enum_type.iter().any(|kind| kind.name() == name)
        || file.message_type.iter().any(|message| message_defines(message, name))
}

fn message_defines(message: &DescriptorProto, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(message.name()) else { return false };
    let Some(inner) = rest.strip_prefix('.') else { return rest.is_empty() };
    message.nested_type.iter().any(|nested| message_defines(nested, inner))
        || message.enum_type.iter().any(|kind| kind.name() == inner)
        || message.field.iter().any(|field| field.name() == inner)
}
