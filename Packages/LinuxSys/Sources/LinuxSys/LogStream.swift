internal import CLinuxSys
internal import Synchronization

/// A pipe, terminal or socket that takes log lines. Any thread.
///
/// A reader that stops reading must not stop the machine: a line that finds no room within a tenth of a second is lost, the next ones wait no more, and when
/// there is room again a line tells how many were lost.
final class LogStream: Sendable {
    private static let patienceMilliseconds: Int32 = 100

    private let descriptor: Int32
    private let lost = Atomic<Int>(0)

    /// The descriptor stays the caller's.
    init(descriptor: Int32) { self.descriptor = descriptor }

    /// `line` has no more than PIPE_BUF bytes, which a pipe that is ready to be written takes without waiting (pipe(7)).
    func write(_ line: [UInt8]) {
        let before = lost.load(ordering: .relaxed)
        guard sys_wait_writable(descriptor, before == 0 ? Self.patienceMilliseconds : 0) else {
            lost.add(1, ordering: .relaxed)
            return
        }
        if before > 0 {
            let count = lost.exchange(0, ordering: .relaxed)
            if count > 0 {
                put(Array("\(LogTime.now().text): \(count) lines were lost: nobody read the log\n".utf8))
                guard sys_wait_writable(descriptor, 0) else {
                    lost.add(1, ordering: .relaxed)
                    return
                }
            }
        }
        put(line)
    }

    // One write a line keeps lines of several threads whole. Nothing can be done for a log that cannot be written.
    private func put(_ line: [UInt8]) {
        _ = unsafe line.withUnsafeBytes { unsafe sys_write(descriptor, $0.baseAddress, $0.count) }
    }
}
