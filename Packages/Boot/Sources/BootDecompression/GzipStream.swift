internal import BootCommon
private import CZlib
internal import LinuxSys

/// zlib's inflate, which checks the CRC and the length at the end of each member.
@safe struct GzipStream {
    /// At an address of its own: zlib refuses a stream that has moved.
    private let stream: UnsafeMutablePointer<z_stream>
    private let output: Decompressor.Output

    /// A window of 32 KiB, as the format has it, and gzip's header and trailer.
    private static let gzipWindow: Int32 = 15 + 16
    /// zlib counts with 32 bits.
    private static let largestStep = 1 << 30

    init(output: Decompressor.Output) throws(DecompressionError) {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // SAFETY: the stream is zeroed, so zlib takes its memory from malloc; version and size are those of the header.
        let result = unsafe inflateInit2_(
            stream, Self.gzipWindow, ZLIB_VERSION, Int32(truncatingIfNeeded: MemoryLayout<z_stream>.size))
        guard result == Z_OK else {
            unsafe stream.deallocate()
            throw .memory(.noMemory)
        }
        unsafe self.stream = stream
        self.output = output
    }

    /// Once, when nothing is to be decoded any more.
    func close() {
        // SAFETY: the stream was set up and nobody else has it.
        _ = unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    func decode(_ input: [UInt8], from start: Int, produced: Int) throws(DecompressionError) -> Decompressor.Step {
        let available = min(input.count - start, Self.largestStep)
        let room = min(output.count - produced, Self.largestStep)
        // SAFETY: zlib reads `available` bytes of `input` behind `start` and writes `room` bytes of the output behind `produced`,
        // both inside; it only reads `input` and does not use either pointer after the call, as they are set anew for each.
        let result = unsafe input.withUnsafeBytes { bytes in
            unsafe stream.pointee.next_in = UnsafeMutablePointer(
                mutating: bytes.baseAddress?.advanced(by: start).assumingMemoryBound(to: UInt8.self))
            unsafe stream.pointee.avail_in = UInt32(truncatingIfNeeded: available)
            unsafe stream.pointee.next_out = output.base.advanced(by: produced).assumingMemoryBound(to: UInt8.self)
            unsafe stream.pointee.avail_out = UInt32(truncatingIfNeeded: room)
            return unsafe inflate(stream, Z_NO_FLUSH)
        }
        var step = unsafe Decompressor.Step(
            consumed: available - Int(stream.pointee.avail_in), produced: room - Int(stream.pointee.avail_out))
        switch result {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END:
            step.ended = true
            _ = unsafe inflateReset(stream)
        case Z_MEM_ERROR: throw .memory(.noMemory)
        default: throw .damaged(.gzip, message)
        }
        return step
    }

    /// zlib's own words, constants of the library.
    private var message: String {
        guard let text = unsafe stream.pointee.msg else { return "not a deflate stream" }
        return unsafe String(cString: text)
    }
}
