/// Makes of a packet what its driver left to the device: its checksum, or the segments of a TCP packet that is larger than what a wire takes (virtio 1.2, section
/// 5.1.6.2). The peer of a stream gets whole frames; a driver that has negotiated offloads with an empty slot, or with a tap, may still send such packets
/// when a stream takes their place.
///
/// Works on a private copy: the driver cannot change what has been checked.
@safe
struct FrameFinisher {
    private static let tcpProtocol: UInt8 = 6
    private static let tcpChecksumOffset = 16

    // SAFETY: the caller gives `length` bytes that are its own while the value lives.
    private let frame: UnsafeMutableRawPointer
    private let length: Int
    private let header: NetHeader

    @unsafe
    init(_ frame: UnsafeMutableRawPointer, length: Int, header: NetHeader) {
        unsafe self.frame = frame
        self.length = length
        self.header = header
    }

    /// Writes the frames, each after its length, into `room` bytes at `target`; how many bytes that are, 0 for a packet that makes no sense or whose frames do not fit.
    /// SAFETY: `target` and the frame do not overlap.
    @unsafe
    func write(to target: UnsafeMutableRawPointer, room: Int) -> Int {
        guard header.gsoType == NetHeader.noGSO else { return unsafe writeSegments(to: target, room: room) }
        let start = header.checksumStart
        let place = start &+ header.checksumOffset
        guard start <= length, place &+ 2 <= length, room >= FrameStream.lengthSize &+ length else { return 0 }
        // SAFETY: checked above. The field holds the sum of the pseudo header.
        unsafe frame.storeBytes(of: Self.complement(Self.sum(frame + start, length &- start)), toByteOffset: place, as: UInt16.self)
        unsafe Self.begin(target, length)
        unsafe (target + FrameStream.lengthSize).copyMemory(from: frame, byteCount: length)
        return FrameStream.lengthSize &+ length
    }

    // MARK: Segments

    /// Where the parts of a TCP packet begin.
    private struct Layout {
        let network: Int
        let transport: Int
        let payload: Int
        let isIPv4: Bool
    }

    private var layout: Layout? {
        let isIPv4 = header.gsoType == NetHeader.tcp4
        guard isIPv4 || header.gsoType == NetHeader.tcp6, header.flags & NetHeader.needsChecksum != 0,
            header.checksumOffset == Self.tcpChecksumOffset, length >= NetHeader.ethernetSize + 4
        else { return nil }
        let network = big16(12) == FrameHead.vlanType ? NetHeader.ethernetSize + 4 : NetHeader.ethernetSize
        let transport = header.checksumStart
        guard transport &+ 20 <= length, transport >= network &+ (isIPv4 ? 20 : 40) else { return nil }
        let version = byte(network)
        if isIPv4 {
            guard version >> 4 == 4, network &+ Int(version & 15) * 4 == transport, byte(network &+ 9) == Self.tcpProtocol else { return nil }
        } else {
            guard version >> 4 == 6 else { return nil }
        }
        let payload = transport &+ Int(byte(transport &+ 12) >> 4) * 4
        guard payload >= transport &+ 20, payload <= length else { return nil }
        return Layout(network: network, transport: transport, payload: payload, isIPv4: isIPv4)
    }

    private func writeSegments(to target: UnsafeMutableRawPointer, room: Int) -> Int {
        let step = header.segmentSize
        guard step > 0, let layout else { return 0 }
        let total = length &- layout.payload
        let sequence = big32(layout.transport &+ 4)
        let identification = layout.isIPv4 ? big16(layout.network &+ 4) : 0
        let flags = byte(layout.transport &+ 13)
        var written = 0
        var done = 0
        var number: UInt16 = 0
        repeat {
            let count = min(step, total &- done)
            let size = layout.payload &+ count
            guard room &- written >= FrameStream.lengthSize &+ size else { return 0 }
            // SAFETY: room for the length and `size` bytes was checked; headers and the payload from `done` on are inside the frame.
            unsafe Self.begin(target + written, size)
            let segment = unsafe target + written + FrameStream.lengthSize
            unsafe segment.copyMemory(from: frame, byteCount: layout.payload)
            unsafe (segment + layout.payload).copyMemory(from: frame + layout.payload + done, byteCount: count)
            // FIN and PSH are the last one's, CWR is the first one's (RFC 3168, section 6.1.2).
            let isLast = done &+ count >= total
            let kept = flags & (isLast ? 0xff : ~0x09) & (done == 0 ? 0xff : 0x7f)
            unsafe segment.storeBytes(of: kept, toByteOffset: layout.transport &+ 13, as: UInt8.self)
            unsafe segment.storeBytes(of: (sequence &+ UInt32(truncatingIfNeeded: done)).bigEndian, toByteOffset: layout.transport &+ 4, as: UInt32.self)
            unsafe Self.finish(segment, size, layout, identification: identification &+ number)
            written &+= FrameStream.lengthSize &+ size
            done &+= count
            number &+= 1
        } while done < total
        return written
    }

    /// Lengths and checksums of a segment of `size` bytes.
    private static func finish(_ segment: UnsafeMutableRawPointer, _ size: Int, _ layout: Layout, identification: UInt16) {
        let network = layout.network
        let tcpLength = size &- layout.transport
        // SAFETY (all): `layout` was checked against a frame whose headers the segment has.
        if layout.isIPv4 {
            unsafe segment.storeBytes(of: UInt16(truncatingIfNeeded: size &- network).bigEndian, toByteOffset: network &+ 2, as: UInt16.self)
            unsafe segment.storeBytes(of: identification.bigEndian, toByteOffset: network &+ 4, as: UInt16.self)
            unsafe segment.storeBytes(of: 0, toByteOffset: network &+ 10, as: UInt16.self)
            let sum = unsafe sum(segment + network, layout.transport &- network)
            unsafe segment.storeBytes(of: ~fold(sum), toByteOffset: network &+ 10, as: UInt16.self)
        } else {
            unsafe segment.storeBytes(of: UInt16(truncatingIfNeeded: size &- network &- 40).bigEndian, toByteOffset: network &+ 4, as: UInt16.self)
        }
        let addresses = unsafe layout.isIPv4 ? sum(segment + network + 12, 8) : sum(segment + network + 8, 32)
        let pseudo = addresses &+ UInt64(UInt16(tcpProtocol).bigEndian) &+ UInt64(UInt16(truncatingIfNeeded: tcpLength).bigEndian)
        unsafe segment.storeBytes(of: 0, toByteOffset: layout.transport &+ tcpChecksumOffset, as: UInt16.self)
        let total = unsafe pseudo &+ sum(segment + layout.transport, tcpLength)
        unsafe segment.storeBytes(of: complement(total), toByteOffset: layout.transport &+ tcpChecksumOffset, as: UInt16.self)
    }

    // MARK: Bytes

    // SAFETY (these three): `layout` asks for places inside the frame only.
    private func byte(_ offset: Int) -> UInt8 { unsafe frame.load(fromByteOffset: offset, as: UInt8.self) }
    private func big16(_ offset: Int) -> UInt16 { UInt16(bigEndian: unsafe frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self)) }
    private func big32(_ offset: Int) -> UInt32 { UInt32(bigEndian: unsafe frame.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }

    private static func begin(_ target: UnsafeMutableRawPointer, _ length: Int) {
        unsafe target.storeBytes(of: UInt32(truncatingIfNeeded: length).bigEndian, as: UInt32.self)
    }

    /// The ones' complement sum, not folded; in whatever order of bytes, as long as it is stored in the same (RFC 1071).
    private static func sum(_ bytes: UnsafeRawPointer, _ count: Int) -> UInt64 {
        var total: UInt64 = 0
        var offset = 0
        // SAFETY: reads from 0 to `count`, which the caller vouches for. At most 2^14 words of 32 bits: nothing wraps.
        while offset &+ 4 <= count {
            total &+= UInt64(unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset &+= 4
        }
        if offset &+ 2 <= count {
            total &+= UInt64(unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset &+= 2
        }
        if offset < count { total &+= UInt64(UInt16(unsafe bytes.load(fromByteOffset: offset, as: UInt8.self)).littleEndian) }
        return total
    }

    private static func fold(_ sum: UInt64) -> UInt16 {
        var sum = sum
        while sum >> 16 != 0 { sum = (sum & 0xffff) &+ (sum >> 16) }
        return UInt16(truncatingIfNeeded: sum)
    }

    /// A sum as a checksum; 0 would say that there is none.
    private static func complement(_ sum: UInt64) -> UInt16 {
        let value = ~fold(sum)
        return value == 0 ? 0xffff : value
    }
}
