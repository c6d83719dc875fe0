import AddressSpace
import Glibc
import LinuxSys
import Synchronization
@testable import Virtio

/// A vhost-user back end on a thread of its own: good, or as bad as the test wants.
final class FakeBackEnd: Sendable {
    struct Message: Equatable, Sendable {
        var request: UInt32
        var flags: UInt32
        var payload: [UInt8]
        var descriptorCount: Int

        var needsReply: Bool { flags & 8 != 0 }
        func word(_ offset: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(payload[offset + $1]) << UInt32(8 * $1) } }
        func long(_ offset: Int) -> UInt64 { UInt64(word(offset)) | UInt64(word(offset + 4)) << 32 }
    }

    /// What to do about a message instead of what is right.
    enum Action: Sendable {
        case normal
        case silent
        case hangUp
        /// These bytes, with these descriptors.
        case sendFiles([UInt8], [Int32])
        /// Any bytes, with this many descriptors.
        case send([UInt8], descriptors: Int = 0)
        /// The first bytes of the right answer (of an empty message where none is due), then a hang-up.
        case answerPartAndHangUp(Int)
        case late(milliseconds: Int)
        /// Writes without end until the front end goes away.
        case flood
    }

    typealias Script = @Sendable (_ index: Int, Message) -> Action

    private struct State: ~Copyable {
        var messages: [Message] = []
        var descriptors = DescriptorList()
        var calls: [UInt32: Int32] = [:]
        var kicks: [UInt32: Int32] = [:]
        var errors: [UInt32: Int32] = [:]
        /// Files of the last memory table, the area for requests in flight that was given, and the channel for requests of its own.
        var memory: [Int32] = []
        var inflight: Int32?
        var channel: Int32?
        var isStopped = false
        var hasHungUp = false
    }

    static let features: UInt64 = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | 1 << 26 | 1 << 30
    static let protocolFeatures: UInt64 = 0xffff

    let features: UInt64
    let protocolFeatures: UInt64
    let queueCount: UInt64
    /// What GET_CONFIG gives; may change.
    let configuration: Mutex<[UInt8]>
    private let script: Script
    private let state = Mutex(State())
    private let thread = Mutex<OSThread?>(nil)

    private init(features: UInt64, protocolFeatures: UInt64, queueCount: UInt64, configuration: [UInt8], script: @escaping Script) {
        self.configuration = Mutex(configuration)
        self.features = features
        self.protocolFeatures = protocolFeatures
        self.queueCount = queueCount
        self.script = script
    }

    /// Starts a back end; the socket is the front end's.
    static func start(
        features: UInt64 = FakeBackEnd.features, protocolFeatures: UInt64 = FakeBackEnd.protocolFeatures, queueCount: UInt64 = 2,
        configuration: [UInt8] = [], _ script: @escaping Script = { _, _ in .normal }
    ) throws -> (FakeBackEnd, Int32) {
        var numbers: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &numbers) == 0 else { throw Errno(errno) }
        let backEnd = FakeBackEnd(features: features, protocolFeatures: protocolFeatures, queueCount: queueCount, configuration: configuration, script: script)
        let far = numbers[1]
        backEnd.thread.withLock { $0 = try? OSThread.start(name: "back end") { backEnd.serve(OwnedFD(adopting: far)) } }
        return (backEnd, numbers[0])
    }

    var messages: [Message] { state.withLock { $0.messages } }
    var requests: [UInt32] { messages.map(\.request) }
    func call(_ ring: UInt32) -> Int32? { state.withLock { $0.calls[ring] } }
    func kick(_ ring: UInt32) -> Int32? { state.withLock { $0.kicks[ring] } }
    func errorEvent(_ ring: UInt32) -> Int32? { state.withLock { $0.errors[ring] } }
    var memoryFiles: [Int32] { state.withLock { $0.memory } }
    var inflight: Int32? { state.withLock { $0.inflight } }
    var channel: Int32? { state.withLock { $0.channel } }
    var hasEnded: Bool { state.withLock { $0.hasHungUp } }

    func stop() {
        state.withLock { $0.isStopped = true }
        thread.withLock { $0 }?.join()
    }

    /// Waits until the back end has seen a message of this kind `count` times.
    func waitFor(_ request: VhostUserRequest, count: Int = 1) -> Bool {
        for _ in 0..<5000 {
            if requests.filter({ $0 == request.rawValue }).count >= count { return true }
            Clock.sleep(nanoseconds: 1_000_000)
        }
        return false
    }

    // MARK: The thread

    private func serve(_ socket: consuming OwnedFD) {
        var index = 0
        while let message = readMessage(socket) {
            state.withLock { $0.messages.append(message) }
            let isOpen = act(script(index, message), message, socket)
            index += 1
            if !isOpen { break }
        }
        state.withLock { $0.hasHungUp = true }
    }

    private func act(_ action: Action, _ message: Message, _ socket: borrowing OwnedFD) -> Bool {
        switch action {
        case .normal:
            guard VhostUserRequest(rawValue: message.request) == .getInflight else { return write(answer(message), socket) }
            // As large as libvhost-user makes it: each region a multiple of 64 bytes.
            let (queues, size) = (UInt64(message.word(16) & 0xffff), UInt64(message.word(16) >> 16))
            let area = queues * ((16 + 16 * size + 63) & ~63)
            guard let file = try? Self.memoryFile(area) else { return false }
            return write(Self.inflightReply(size: area, offset: 0, shape: message.word(16)), socket, [file.raw])
        case .silent: return true
        case .hangUp: return false
        case .send(let bytes, let descriptors): return write(bytes, socket, [Int32](repeating: 0, count: descriptors))
        case .sendFiles(let bytes, let files): return write(bytes, socket, files)
        case .answerPartAndHangUp(let count):
            let whole = answer(message)
            _ = write(Array((whole.isEmpty ? reply(message.request, 0) : whole).prefix(count)), socket)
            return false
        case .late(let milliseconds):
            Clock.sleep(nanoseconds: UInt64(milliseconds) * 1_000_000)
            return write(answer(message), socket)
        case .flood:
            let bytes = [UInt8](repeating: 0x5a, count: 4096)
            while write(bytes, socket) {}
            return false
        }
    }

    /// The right answer; empty when none is due.
    func answer(_ message: Message) -> [UInt8] {
        switch VhostUserRequest(rawValue: message.request) {
        case .getFeatures: reply(message.request, features)
        case .getProtocolFeatures: reply(message.request, protocolFeatures)
        case .getQueueCount: reply(message.request, queueCount)
        case .getRingBase: reply(message.request, UInt64(message.word(0)) | 7 << 32)
        case .getConfiguration: configurationReply(message)
        default: message.needsReply ? reply(message.request, 0) : []
        }
    }

    private func configurationReply(_ message: Message) -> [UInt8] {
        Self.words([message.request, 5, UInt32(message.payload.count)]) + message.payload.prefix(12) + configuration.withLock { $0 }
    }

    static func inflightReply(size: UInt64, offset: UInt64, shape: UInt32) -> [UInt8] {
        words([VhostUserRequest.getInflight.rawValue, 5, 24, UInt32(truncatingIfNeeded: size), UInt32(size >> 32), UInt32(truncatingIfNeeded: offset), UInt32(offset >> 32), shape, 0])
    }

    static func words(_ words: [UInt32]) -> [UInt8] { words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } } }

    static func memoryFile(_ size: UInt64) throws -> OwnedFD {
        let memory = try HostMemory.anonymous(size: size, options: .shared)
        return withExtendedLifetime(memory) { OwnedFD(adopting: dup(memory.fileDescriptor)) }
    }

    func reply(_ request: UInt32, _ value: UInt64, flags: UInt32 = 5, size: UInt32 = 8) -> [UInt8] {
        var bytes: [UInt8] = []
        for word in [request, flags, size, UInt32(truncatingIfNeeded: value), UInt32(value >> 32)] {
            for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        return bytes
    }

    private func write(_ bytes: [UInt8], _ socket: borrowing OwnedFD, _ descriptors: [Int32] = []) -> Bool {
        var done = 0
        while done < bytes.count {
            if state.withLock({ $0.isStopped }) { return false }
            do throws(Errno) {
                done += try socket.send(bytes, from: done, descriptors: done == 0 ? descriptors : [])
            } catch {
                guard error == .again else { return false }
                _ = try? socket.wait(for: .writable, nanoseconds: 10_000_000)
            }
        }
        return true
    }

    private func readMessage(_ socket: borrowing OwnedFD) -> Message? {
        var descriptors = DescriptorList()
        guard let header = read(12, socket, &descriptors) else { return nil }
        var message = Message(request: 0, flags: 0, payload: header, descriptorCount: 0)
        (message.request, message.flags) = (message.word(0), message.word(4))
        let size = Int(message.word(8))
        guard let payload = size == 0 ? [] : read(size, socket, &descriptors) else { return nil }
        message.payload = payload
        message.descriptorCount = descriptors.count
        keep(message, &descriptors)
        return message
    }

    private func keep(_ message: Message, _ descriptors: inout DescriptorList) {
        state.withLock { state in
            if VhostUserRequest(rawValue: message.request) == .setMemoryTable { state.memory = [] }
            while let file = descriptors.takeFirst() {
                let ring = message.payload.isEmpty ? 0 : message.word(0) & 0xff
                switch VhostUserRequest(rawValue: message.request) {
                case .setKick: state.kicks[ring] = file.raw
                case .setCall: state.calls[ring] = file.raw
                case .setError: state.errors[ring] = file.raw
                case .setMemoryTable: state.memory.append(file.raw)
                case .setInflight: state.inflight = file.raw
                case .setBackEndChannel: state.channel = file.raw
                default: break
                }
                state.descriptors.append(file)
            }
        }
    }

    private func read(_ count: Int, _ socket: borrowing OwnedFD, _ descriptors: inout DescriptorList) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            if state.withLock({ $0.isStopped }) { return nil }
            var part = [UInt8](repeating: 0, count: count - bytes.count)
            do throws(Errno) {
                let got = try socket.receive(into: &part, descriptors: &descriptors)
                if got == 0 { return nil }
                bytes += part[..<got]
            } catch {
                guard error == .again else { return nil }
                _ = try? socket.wait(for: .readable, nanoseconds: 10_000_000)
            }
        }
        return bytes
    }
}
