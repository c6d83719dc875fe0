import COperations
import MachineManager

/// QMP's text: what clients send, and what they are answered. Such a command is a matter of a user's, not of a guest's, and may allocate.
func textOperations() -> [Operation] {
    commands.map { name, text in
        let bytes = Array(text.utf8)
        return .simple("QMP", "parse \(name), \(bytes.count) bytes", isFree: false) {
            var reader = JSONReader()
            var values = 0
            for byte in bytes {
                if case .value? = reader.push(byte) { values += 1 }
            }
            guard values == 1 else { throw OperationError.refused("\(values) values") }
        }
    } + answers.map { name, value in
        var text: [UInt8] = []
        value.write(to: &text)
        return .simple("QMP", "write \(name), \(text.count) bytes", isFree: false) {
            text.removeAll(keepingCapacity: true)
            value.write(to: &text)
            operations_use(UInt64(text.count))
        }
    }
}

private let commands = [
    ("query-status", #"{"execute":"query-status","id":"libvirt-17"}"#),
    (
        "blockdev-add",
        #"{"execute":"blockdev-add","arguments":{"node-name":"drive-1","driver":"raw","read-only":false,"file":{"driver":"file","filename":"/var/lib/images/disk-1.img","aio":"io_uring"},"cache":{"direct":true,"no-flush":false}},"id":18}"#
    ),
    ("device_add", #"{"execute":"device_add","arguments":{"driver":"virtio-blk-device","id":"disk-1","drive":"drive-1","serial":"0123456789abcdef"},"id":19}"#),
]

private let answers: [(String, JSONValue)] = [
    ("query-status's return", ["return": ["running": true, "singlestep": false, "status": "running"], "id": "libvirt-17"]),
    (
        "the return of 8 vCPUs",
        [
            "return": .array((0..<8).map { number in
                ["cpu-index": .integer(number), "qom-path": .string("/machine/unattached/device[\(number)]"), "thread-id": .integer(4711 + number),
                    "props": ["socket-id": 0, "core-id": .integer(number), "thread-id": 0], "target": "x86_64"]
            })
        ]
    ),
]
