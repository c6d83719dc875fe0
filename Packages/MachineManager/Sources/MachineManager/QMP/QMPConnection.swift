internal import LinuxSys

/// One client: its socket, what it has sent and was not looked at yet, and what it must still receive.
///
/// Memory is bounded whatever the client does. While more than `outputLimit` bytes wait for it no request of it is read, so at most one answer is made
/// beyond the limit; events that find the limit reached wait in a queue that drops its oldest. Descriptors that no command takes are closed.
struct QMPConnection: ~Copyable {
    enum Step {
        /// Something to answer.
        case input(JSONReader.Event)
        /// Nothing to do before the socket is ready again.
        case wait
    }

    /// Bytes waiting for the client above which it is no longer served.
    static let outputLimit = 64 << 10
    /// As in StratoVirt.
    static let eventLimit = 50
    private static let pieceSize = 4096
    /// Descriptors that may wait for their `getfd`. A client that sends more is hung up on.
    static let descriptorLimit = 32
    private static let readSize = 4096

    private let socket: OwnedFD
    private var reader = JSONReader()
    private var input: [UInt8] = []
    /// Descriptors that came with the last read, and those from before. A command whose end came later than a descriptor takes it or has it closed; what
    /// came with the same read may belong to a command behind it.
    private var freshDescriptors = DescriptorList()
    private var oldDescriptors = DescriptorList()
    private var inputStart = 0
    private var output: [UInt8] = []
    private var outputStart = 0
    private var events: [[UInt8]] = []
    /// A client that negotiates reads the answer to its first command before anything else, so events wait for that answer.
    private var sendsEvents = false
    private var atEnd = false
    private var isBroken = false
    /// What the event loop watches.
    private(set) var watched: EventLoop.Events = .readable

    init(_ socket: consuming OwnedFD) {
        self.socket = socket
    }

    var descriptor: Int32 { socket.raw }

    private var waiting: Int { output.count - outputStart }

    /// So much waits for the client that it is not served.
    var isFull: Bool { waiting > Self.outputLimit }

    /// The client is gone, or has sent everything and received everything.
    var isFinished: Bool { isBroken || (atEnd && inputStart == input.count && waiting == 0) }

    /// What the event loop should watch from now on.
    var wanted: EventLoop.Events {
        var events: EventLoop.Events = []
        if !atEnd, !isFull { events.insert(.readable) }
        // Requests that were read while too much waited make no event of their own: the next chance to write brings them up again.
        if waiting > 0 || inputStart < input.count { events.insert(.writable) }
        return events
    }

    mutating func setWatched(_ events: EventLoop.Events) { watched = events }

    /// Gives the next request. `mayRead` is spent by reading from the socket once, which keeps one client from holding up the loop.
    mutating func next(mayRead: inout Bool) -> Step {
        while !isFull, !isBroken {
            while inputStart < input.count {
                let byte = input[inputStart]
                inputStart += 1
                if let event = reader.push(byte) { return .input(event) }
            }
            guard mayRead, !atEnd else { break }
            mayRead = false
            read()
        }
        return .wait
    }

    private mutating func read() {
        input = [UInt8](repeating: 0, count: Self.readSize)
        inputStart = 0
        var count = 0
        while let descriptor = freshDescriptors.takeFirst() { oldDescriptors.append(descriptor) }
        do {
            count = try socket.receive(into: &input, descriptors: &freshDescriptors, limit: Self.descriptorLimit - oldDescriptors.count)
            atEnd = count == 0
        } catch {
            if error != .again { isBroken = true }
        }
        input.removeLast(input.count - count)
        if input.isEmpty { input = [] }
    }

    /// The oldest descriptor that came with the client's bytes so far.
    mutating func takeDescriptor() -> OwnedFD? { oldDescriptors.takeFirst() ?? freshDescriptors.takeFirst() }

    mutating func sendGreeting() {
        QMPAnswers.greeting.write(to: &output)
        output += "\r\n".utf8
    }

    /// Queues an answer.
    mutating func send(_ reply: QMPReply) {
        oldDescriptors.removeAll()
        switch reply.result {
        case .failure(let error):
            output += "{\"error\":".utf8
            error.json.write(to: &output)
        case .success(.value(let value)):
            output += "{\"return\":".utf8
            value.write(to: &output)
        case .success(.list(let count, let write)):
            output += "{\"return\":[".utf8
            for index in 0..<count {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                write(index, &output)
                // A long list is handed on as it is made: a client that reads makes its memory.
                if waiting >= Self.pieceSize { drain() }
            }
            output.append(UInt8(ascii: "]"))
        }
        if let id = reply.id {
            output += ",\"id\":".utf8
            id.write(to: &output)
        }
        output += "}\r\n".utf8
    }

    /// Events may go out from now on.
    mutating func allowEvents() { sendsEvents = true }

    /// Queues an event.
    mutating func sendEvent(_ line: [UInt8]) {
        if events.count >= Self.eventLimit { events.removeFirst() }
        events.append(line)
    }

    /// Hands the socket as much as it takes.
    mutating func flush() {
        drain()
        if sendsEvents, !isFull, !events.isEmpty {
            for event in events { output += event }
            events = []
            drain()
        }
        if waiting == 0 { output = [] }
    }

    private mutating func drain() {
        while !isBroken, waiting > 0 {
            do {
                outputStart += try socket.send(output, from: outputStart)
            } catch {
                if error != .again { isBroken = true }
                break
            }
        }
        // A sent prefix is dropped in one piece rather than moved for every few bytes that a slow client takes.
        if waiting == 0 {
            output.removeAll(keepingCapacity: true)
            outputStart = 0
        } else if outputStart > Self.outputLimit {
            output.removeFirst(outputStart)
            outputStart = 0
        }
    }

    var isFlushed: Bool { isBroken || (waiting == 0 && events.isEmpty) }
}
