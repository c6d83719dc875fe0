import AddressSpace
import BlockBackend
import Glibc
import LinuxSys
import Virtio

/// Requests to a disk with each of its engines: the guest's notification, the event loop, the file, the interrupt.
func blockOperations() throws -> [Operation] {
    let engines: [(String, RawImageOptions.Engine)] = [("io_uring", .ioUring), ("native", .native), ("threads", .threads), ("off", .off)]
    let plain = try engines.flatMap { name, engine in try Disk(name, engine).operations() }
    // Limits that are never reached are counted all the same; all that is written here is zeros.
    let limits = ThrottleLimits(requests: .init(total: .init(average: 1_000_000_000)), bytes: .init(read: .init(average: 1 << 50)))
    // As an iothread does, the loop looks before it sleeps.
    return try plain + Disk("io_uring, polled", .ioUring, longestLook: 32768).operations()
        + Disk("limits, zero detection", .ioUring, zeroDetection: .unmap, limits).operations()
}

private struct Request {
    enum Kind: UInt32 { case read = 0, write = 1, flush = 4, identify = 8, discard = 11, writeZeroes = 13, unknown = 99 }
    var kind: Kind
    var buffers: [GuestRing.Buffer] = []
    var sector: UInt64 = 0
    var isIndirect = false
    /// What the disk answers (virtio 1.2, section 5.2.6).
    var status: UInt8 = 0
}

private final class Disk {
    private static let size = 8 << 20
    /// Most requests at once: more than are served at once.
    private static let flood = 200

    private let group: String
    private let machine: GuestMachine
    private let driver: GuestDriver
    private let headers: UInt64
    private let data: UInt64
    private let range: UInt64
    private let tables: UInt64

    init(
        _ name: String, _ engine: RawImageOptions.Engine, zeroDetection: RawImageOptions.ZeroDetection = .off, _ limits: ThrottleLimits = .init(), longestLook: UInt64 = 0
    ) throws {
        group = "disk, \(name)"
        machine = try GuestMachine(longestLook: longestLook)
        let path = "/var/tmp/operations-\(getpid())"
        let file = try SysFile.open(path, [.readWrite, .create, .truncate])
        // Open is enough.
        defer { try? SysFile.remove(path) }
        for _ in 0..<Self.size >> 20 { try file.writeAll([UInt8](repeating: 7, count: 1 << 20)) }
        // Linux AIO is for direct files only.
        let image = try RawImage.open(
            RawImageOptions(path: path, direct: engine == .native, engine: engine, discard: true, zeroDetection: zeroDetection, throttle: limits))
        driver = try GuestDriver(machine, "disk", VirtioBlock(storage: image, options: .init(offersDiscard: true, offersWriteZeroes: true)))
        headers = machine.allocate(UInt64(Self.flood) * 32)
        data = machine.allocate(1 << 20)
        range = machine.allocate(4096)
        // Sector 8, 8 sectors, no flags.
        try machine.memory.store(8 as UInt64, at: range)
        try machine.memory.store(8 as UInt32, at: range + 8)
        tables = machine.allocate(UInt64(Self.flood) * 512)
    }

    func operations() throws -> [Operation] {
        let page = GuestRing.Buffer.writable(data, 4096), border = GuestMachine.ramSize - 2048
        // Every other block: they are not merged.
        func reads(_ count: Int, isIndirect: Bool = false) -> [Request] {
            (0..<UInt64(count)).map { Request(kind: .read, buffers: [page], sector: 16 * $0, isIndirect: isIndirect) }
        }
        return [
            operation("read 4 KiB", reads(1)), operation("write 4 KiB", [Request(kind: .write, buffers: [.readable(data, 4096)])]),
            operation("read 4 KiB, 32 at once", reads(32)), operation("read 4 KiB, 200 at once: more than are served", reads(Self.flood, isIndirect: true)),
            operation("read 24 pages, in a table", [Request(kind: .read, buffers: (0..<24).map { .writable(data + 8192 * $0, 4096) }, isIndirect: true)]),
            operation("one of each other kind at once", [
                Request(kind: .flush), Request(kind: .identify, buffers: [.writable(data, 20)]), Request(kind: .discard, buffers: [.readable(range, 16)]),
                Request(kind: .writeZeroes, buffers: [.readable(range, 16)]), Request(kind: .read, buffers: [.writable(border, 4096)]),  // two pieces of RAM
                Request(kind: .unknown, status: 2), Request(kind: .read, buffers: [page], sector: UInt64(Self.size) / 512, status: 1),  // beyond the end
            ]),
        ]
    }

    /// Offers all `requests` at once and waits until they are answered.
    private func operation(_ name: String, _ requests: [Request]) -> Operation {
        Operation(group, name, perRound: requests.count) { [self] rounds, measurement in
            // The descriptors are written each time the operation's turn comes: operations share them.
            var heads: [UInt16] = []
            var next: UInt16 = 0
            for (index, request) in requests.enumerated() {
                let header = headers + UInt64(index) * 32, table = tables + UInt64(index) * 512
                try machine.memory.store(request.kind.rawValue, at: header)
                try machine.memory.store(request.sector, at: header + 8)
                try machine.memory.store(0xff as UInt8, at: header + 16)
                let chain: [GuestRing.Buffer] = [.readable(header, 16)] + request.buffers + [.writable(header + 16, 1)]
                if request.isIndirect { try driver.rings[0].write(chain, table: table) }
                try driver.rings[0].write(request.isIndirect ? [.indirect(table, chain.count)] : chain, first: next)
                heads.append(next)
                next += request.isIndirect ? 1 : UInt16(chain.count)
            }
            try measurement.take { for _ in 0..<rounds { try driver.transfer(0, heads: heads) } }
            for (index, request) in requests.enumerated() {
                let answer = try machine.memory.load(UInt8.self, at: headers + UInt64(index) * 32 + 16)
                guard answer == request.status else { throw OperationError.refused("\(request.kind): status \(answer)") }
            }
        }
    }
}
