"""Holds a lock with Apache Curator again and again, and says when it did: see CuratorLock.java.

Arguments: hosts, lock, how often.
"""

import pathlib
import subprocess
import sys

jars = "/usr/share/java"
classpath = f"{jars}/curator-recipes.jar:{jars}/slf4j-nop.jar"
source = pathlib.Path(__file__).with_name("CuratorLock.java")
subprocess.run(["java", "-cp", classpath, source, *sys.argv[1:]], check=True)
